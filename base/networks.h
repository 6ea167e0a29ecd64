/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of networks, as "10.0.0.0/8,::1/128": read once, asked at each connection. An IPv4 address inside an IPv6 one is judged
 * as the IPv4 one. Any thread may ask; a list never changes.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

struct networks;
/* An entry that cannot be read spoils the whole list: nothing is in it, nor in "" or NULL. */
struct networks *networks_new(const char *list);
/* Those of a list that begin in one of `inside`. */
struct networks *networks_inside(const struct networks *, const struct networks *inside);
void networks_free(struct networks *);
bool networks_contain(const struct networks *, const struct sockaddr_storage *);
bool networks_valid(const char *list); /* and has at least one */
