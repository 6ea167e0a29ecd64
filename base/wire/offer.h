/* SPDX-License-Identifier: Apache-2.0 */
/* How a participant brings a ticket: in the query (`ticket=`), or among the offered subprotocols (`usher.ticket.<ticket>`). It is for
 * whoever lets them in, and goes no further. */
#pragma once

#include <stdbool.h>

#include "base/httpd.h"

struct arena;

bool offer_ticket(const struct exchange *, struct str *ticket);
struct str offer_protocol(const struct exchange *); /* the offered one that is the ticket; absent: at == NULL */
/* Leaves it out of the headers of a handshake; one that offers nothing else is left out as a whole. */
void offer_hide(struct arena *, struct header *headers, size_t *n);
/* Appends the raw query without it, however its name is written, after `separator` if anything is left. */
void offer_pass_query(struct buf *, struct str query, char separator);
/* The first piece, over all headers of this name, that begins so; absent: at == NULL. */
struct str offer_piece(const struct exchange *, const char *header, char separator, struct str with);
