/* SPDX-License-Identifier: Apache-2.0 */
/* Errors as application/problem+json (RFC 9457), the same for every refusal. */
#pragma once

#include <stdint.h>

struct exchange;

/* retry_ms 0: the error's own default, where trying again can help at all. Jittered by up to a quarter. */
void problem_answer(struct exchange *, int err, const char *detail, uint64_t retry_ms);
