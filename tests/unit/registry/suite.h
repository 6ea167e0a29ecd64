/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both stores promise, tested once: each test runs from the keeper's own loop and from a worker's. One thread turns
 * both loops, and calls wait for their answers by turning.
 */
#pragma once

struct suite_host {
	const char *name;
	const char *(*begin)(void); /* before each test: an empty store; gives its URL */
};
int suite_run(const struct suite_host *, void (*once)(void), void (*at_end)(void)); /* how many failed */
