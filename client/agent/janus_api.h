/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Janus' admin API, as far as an agent needs it: requests to the videoroom plugin by `message_plugin`, and what a room of
 * ours looks like there. Janus (1.1.2) answers HTTP 200 always; errors stand in the body, the plugin's own one level deeper.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "base/str.h"

struct arena;
struct http;
struct wait;

enum janus_code { /* of the plugin: error_code */
	JANUS_NO_SUCH_ROOM = 426,
	JANUS_ROOM_EXISTS = 427,
	JANUS_UNAUTHORIZED = 433
};

struct janus_api {
	struct http *http;
	const char *url;    /* of the admin API, "http://127.0.0.1:7088/admin" */
	const char *secret; /* admin_secret of janus.jcfg */
	const char *key;    /* admin_key of janus.plugin.videoroom.jcfg */
	uint64_t timeout_ms;
};
struct janus_room {
	const char *room, *description;
	uint64_t participants;
};
struct janus_reply {
	uint64_t code;          /* 0: done; else an error code of the plugin */
	const char *error;      /* its words; "" */
	struct json_list rooms; /* of struct janus_room; of a list */
};

/* The secrets of one room, derived: whoever has the admin key (an agent that starts anew) can make them again. `secret`
 * changes and ends the room and stays with the agent; `pin` lets in and goes to participants. */
#define JANUS_SECRET_MAX 33
struct janus_secrets {
	char secret[JANUS_SECRET_MAX], pin[JANUS_SECRET_MAX];
};
void janus_derive(const struct janus_api *, struct str room, uint64_t epoch, struct janus_secrets *out);

#define JANUS_DESCRIPTION_MAX 40
void janus_describe(uint64_t epoch, char out[static JANUS_DESCRIPTION_MAX]); /* "usher epoch=17" */
uint64_t janus_described(const char *description); /* its epoch; 0: not a room of ours */

/* Requests to the plugin. WAIT, then wakes with 0 (see reply->code), -ERR_TIMEOUT, or -ERR_NODE_UNAVAILABLE: Janus does not
 * answer, or not as it should (a wrong secret, no plugin), which is logged. The reply lies in the arena. */
int janus_create(const struct janus_api *, struct str room, uint64_t epoch, struct arena *, struct janus_reply *, struct wait *);
int janus_destroy(const struct janus_api *, struct str room, uint64_t epoch, struct arena *, struct janus_reply *, struct wait *);
int janus_list(const struct janus_api *, struct arena *, struct janus_reply *, struct wait *);
int janus_check(const struct janus_api *, struct arena *, struct janus_reply *, struct wait *); /* the plugin answers */

/* What a join hands out, at most `max` bytes with the NUL: {"janus":{"plugin","room","pin"}}; "room" is left out where it
 * would not fit (it is the room's name). */
void janus_hints(const struct janus_api *, struct str room, uint64_t epoch, char *out, size_t max);
