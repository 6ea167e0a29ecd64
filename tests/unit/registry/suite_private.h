/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the suite: which store asks in this test, and the steps that its tests are made of. */
#pragma once

#include "tests/unit/registry/suite.h"
#include "tests/unit/registry/turning.h"

extern struct store *s; /* asks; on the keeper's loop or the worker's */
#define FROM_HERE(i) (s = t.stores[i])

struct claimed do_claim(const char *name, uint64_t from, const char *node);
struct claimed do_claim_lost(const char *name, uint64_t from, const char *node); /* as its owner is lost */
struct claimed do_confirm(const char *name, uint64_t epoch);
struct claimed do_publish(const char *name, uint64_t epoch, const char *hints);
struct claimed do_shut(const char *name, uint64_t epoch);
struct claimed do_forget(const char *name, uint64_t epoch);
uint64_t do_open(const char *name, const char *node); /* claimed and published; its epoch */
struct room do_find(const char *name, bool fresh);

struct registered do_register(const char *node, const char *incarnation, const char *replaces);
struct renewed do_renew(const char *node, const char *incarnation, uint64_t registration, uint64_t seq);
struct reserved do_reserve(const char *node, uint64_t registration, const char *room, double cost, uint64_t rooms_max,
                           bool exclusive);
bool do_lose(const char *node, uint64_t registration, uint64_t seq);
bool do_leave(const char *node, const char *incarnation);
const struct node_record *do_look(const char *node); /* NULL: there is none */
bool has_entry(const char *node, const char *room, struct room_report *out);
/* The row of this room in its node's listing; false: none. */
bool row_of(const char *node, const char *room, struct rooms_row *out);

void suite_rooms(Suite *, SFun begin, SFun end);
void suite_lists(Suite *, SFun begin, SFun end);
void suite_nodes(Suite *, SFun begin, SFun end);
void suite_places(Suite *, SFun begin, SFun end);
/* Each test once from either loop. */
#define BOTH(tcase, test) tcase_add_loop_test(tcase, test, 0, 2)
