/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scripts that change records in Redis, one file each in registry/lua/. They are part of the program: read at build
 * time, named on the wire by their SHA1.
 */
#pragma once

#include "base/str.h"

#define SCRIPT_TABLE(X)                                                                                                \
	X(CLAIM, claim) X(CONFIRM, confirm) X(PUBLISH, publish) X(MOVE, move) X(RESTORE, restore) X(SHUT, shut)        \
	X(FORGET, forget) X(REGISTER, register) X(RENEW, renew)                                                        \
	X(LEAVE, leave) X(LOSE, lose) X(WISH, wish) X(RESETS, resets) X(RESERVE, reserve) X(RELEASE, release)          \
	X(INDEX, index) X(UNINDEX, unindex) X(REPORT, report) X(TOUCH, touch) X(ANNOUNCE, announce)          \
	X(LISTED, listed) X(MARK, mark) X(WHOLE, whole) X(DOUBT, doubt)

enum script {
#define X(name, file) SCRIPT_##name,
	SCRIPT_TABLE(X)
#undef X
		SCRIPT_COUNT
};
struct script_text {
	const char *name;
	struct str body;
	char sha1[41]; /* hex, as EVALSHA wants it */
};
const struct script_text *script_text(enum script); /* any thread; valid for ever */
