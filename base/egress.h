/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where usher connects because a node said so: a list of networks, less what no list may open. What a URL says is judged when it
 * is registered, so that somebody is told; what its name resolves to is judged at each connect, as the answer may have changed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/str.h"

struct egress; /* any thread may ask */
struct egress *egress_new(const char *list);
void egress_free(struct egress *);
/*
 * At each connect, with the port in the address. An IPv4 address inside an IPv6 one is judged as the IPv4 one. Never: unspecified,
 * multicast, broadcast and reserved addresses, metadata services of clouds, addresses that hide another one. Link-local ones only
 * where an entry of the list begins with one: a list as wide as 0.0.0.0/0 does not mean them.
 */
bool egress_allowed(const struct egress *, const struct sockaddr_storage *to);
bool egress_host_allowed(const struct egress *, struct str host); /* of a URL: an address as above; a name passes */
bool egress_port_allowed(uint16_t port);                          /* not 0, and not one that belongs to another protocol */
