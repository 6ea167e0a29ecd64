/* SPDX-License-Identifier: Apache-2.0 */
/* What a node owns for its whole life: copies of its options, and the list of routers, which answers change. */
#pragma once

#include "client/lib/node.h"

/* What an older version has not is zero; of a newer one, and of none, nothing is read: size 0. */
void node_options_read(const struct usher_node_options *given, struct usher_node_options *out);
bool node_make(struct usher_node *, const struct usher_node_options *, const char **why); /* false: node_unmake() it */
void node_unmake(struct usher_node *);
