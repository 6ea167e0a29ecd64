/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands between a registry and its Redis, on the test's loop, and does to the connections what networks and servers do:
 * hold back, lose, answer out of turn. A connection that has sent SUBSCRIBE is the invalidation link.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct relay;

struct relay *relay_new(struct loop *, uint16_t to_port);
void relay_free(struct relay *);
uint16_t relay_port(const struct relay *);
unsigned relay_accepted(const struct relay *);
void relay_black_hole_link(struct relay *, bool on); /* nothing passes on the invalidation link, either way */
void relay_hold_replies(struct relay *, bool on);    /* answers on the other connections wait; off: they go */
void relay_answer_all(struct relay *, const char *reply); /* instead of the server, one for each piece that comes; NULL: no more */
