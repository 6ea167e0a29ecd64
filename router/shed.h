/* SPDX-License-Identifier: Apache-2.0 */
/* Overload control where requests enter: which class each is of, and what is turned away (docs/operate/overload.md). */
#pragma once

struct request;
struct route;
struct router;
struct worker;

void shed_start_keeper(struct router *); /* each begins to judge its loop, every overload.interval_ms */
void shed_start_worker(struct worker *);
void shed_stop_worker(struct worker *);
/* 0, or -ERR_OVERLOADED with rq->retry_ms and hold_ms. Before anything is worked on but the route and its names. */
int shed_request(struct request *, const struct route *);
