/* SPDX-License-Identifier: Apache-2.0 */
/* The tests' way in: a joiner on a loop whose time they own. The loop stays the caller's and outlives the joiner. */
#pragma once

#include "base/loop.h"
#include "client/lib/usher/usher.h"

struct usher_join *join_new_on(struct loop *, const struct usher_join_options *, void (*done)(void *arg, const struct usher_joined *),
                               const char **why);
