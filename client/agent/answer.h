/* SPDX-License-Identifier: Apache-2.0 */
/* How the agent answers routers: JSON, nothing, or a refusal in the one shape that all of usher's have. */
#pragma once

#include <stdint.h>

struct buf;
struct exchange;

void answer_json(struct exchange *, int status, struct buf *json); /* takes the buffer's bytes, frees it */
void answer_empty(struct exchange *, int status);
/* problem+json. `detail` NULL: the error's title. 503, 429 and 504 say when to try again. */
void answer_problem(struct exchange *, int err, const char *detail);
