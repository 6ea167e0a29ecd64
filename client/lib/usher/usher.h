/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libusher: the part of usher that runs in C programs that are an SFU (usher_node) or bring participants to one
 * (usher_join). Nothing here blocks or starts a thread. Each object sleeps on one descriptor, so that it lives in any event
 * loop:
 *
 *	poll usher_node_fd() for reading, at most usher_node_timeout_ms() long (-1: no limit), then call usher_node_turn()
 *
 * Callbacks come from within usher_node_turn(), on the caller's thread; all calls but usher_node_free() are allowed in them,
 * and another usher_node_turn() does nothing there.
 * Strings given are copied; strings handed out live until the callback returns. An object is for one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -- a node: registered, reporting, holding rooms --------------------------------------------------------------------- */
struct usher_node;

enum usher_node_phase {
	USHER_NODE_JOINING, /* not registered yet, or not confirmed since */
	USHER_NODE_ADMITS,  /* the lease holds */
	USHER_NODE_REFUSES, /* the lease is over, or its router asked to register again: rooms stay, nobody new comes in */
	USHER_NODE_TAKEN,   /* another live process has this node id; asked again with growing waits */
	USHER_NODE_STALE,   /* a newer registration exists: final. Drop every room */
	USHER_NODE_LEFT     /* usher_node_leave() has ended */
};
const char *usher_node_phase_name(enum usher_node_phase);

enum usher_node_report { USHER_READY, USHER_DRAINING, USHER_SICK };

struct usher_label {
	const char *key, *value;
};
/* The load of the last seconds. Leave out what is not known: has_… false. Fractions may exceed 1. */
struct usher_load {
	double cpu, memory, stress, bandwidth_in_mbps, bandwidth_out_mbps, participants;
	bool has_cpu, has_memory, has_stress, has_bandwidth_in, has_bandwidth_out, has_participants;
};
struct usher_node_options {
	size_t size;             /* sizeof(struct usher_node_options): later versions add members at the end, and take this size */
	const char *node;        /* [A-Za-z0-9._-]{1,64} */
	const char *incarnation; /* of the SFU process: [A-Za-z0-9._:-]{1,128}; made anew for each process, found again by its agent */
	const char *replaces;    /* the incarnation whose end was seen; NULL: none */
	const char *const *routers; /* http(s)://host:port, tried in this order; more are learned from answers */
	size_t nrouters;
	const char *token;          /* sent as Authorization: Bearer; NULL: none */
	const char *signal_url;     /* ws, wss, http or https */
	const char *http_url, *public_signal_url, *control_url, *health_url; /* NULL: not said, here and below */
	const char *region, *zone, *pool, *adapter, *version;
	const char *fences;         /* "gate": joins are checked with usher_node_admits(); "rooms"; NULL: "none" */
	const struct usher_label *labels;
	size_t nlabels;
	double capacity_bandwidth_mbps, capacity_rooms, capacity_participants; /* 0: not said */
	bool fence_on_store_loss;   /* refuse joins also when every router says that the store is gone */
	/* Asked just before each heartbeat. */
	void (*sample)(void *arg, struct usher_load *out);
	/* The room at this epoch, and older ones of that name, is another node's: end it, then usher_node_room_remove(). */
	void (*evict)(void *arg, const char *room, uint64_t epoch);
	/* `detail`: words for the log. */
	void (*changed)(void *arg, enum usher_node_phase, const char *detail);
	void *arg;
	/* For https routers. tls_ca: a file of PEM certificates, instead of the system's. tls_cert, tls_key: files of what we show,
	 * the key's mode 0600. NULL: not said. Read at each new connection. */
	const char *tls_ca, *tls_cert, *tls_key;
};
/* Begins to register at the first turn. NULL: `why` (may be NULL) names the option that does not fit, or "out of memory". */
struct usher_node *usher_node_new(const struct usher_node_options *, const char **why);
void usher_node_free(struct usher_node *); /* says nothing to the routers: usher_node_leave() first. NULL is fine */

int usher_node_fd(struct usher_node *);
int usher_node_timeout_ms(struct usher_node *);
void usher_node_turn(struct usher_node *);

/* May a participant be let in now? To be asked at each of them: nothing announces the end of a lease. */
bool usher_node_admits(const struct usher_node *);
int64_t usher_node_lease_left_ms(const struct usher_node *); /* until it refuses; 0: it does */
enum usher_node_phase usher_node_phase(const struct usher_node *);
/* The last answered heartbeat said that the node is being drained: it gets no new rooms, and is to open none. */
bool usher_node_drains(const struct usher_node *);

/* The rooms that the SFU holds, as usher knows them. room_set adds or updates; -1: not a room name, or not an epoch.
 * A higher epoch replaces, a lower one is ignored. */
int usher_node_room_set(struct usher_node *, const char *room, uint64_t epoch, uint64_t participants);
/* What came as X-Usher-Grant with the room's open, or with a request for it (several, with commas: the first is kept): told with the
 * room, so that routers restore it should they lose all data. A gate of your own keeps all that the last open brought. -1: not held at that epoch, or not a grant. */
int usher_node_room_grant(struct usher_node *, const char *room, uint64_t epoch, const char *grant);
void usher_node_room_remove(struct usher_node *, const char *room, uint64_t epoch); /* that epoch and older */
/* Do routers sign (auth.grant_keys)? As the last answer said; then participants are to show a grant, and calls a call key. */
bool usher_node_demands_grants(const struct usher_node *);
/* Of a call to the control_url: is X-Usher-Call-Key (NULL: absent) right, or is none demanded? No: not registered yet. */
bool usher_node_call_allowed(const struct usher_node *, const char *call_key);
size_t usher_node_rooms(const struct usher_node *);

void usher_node_report(struct usher_node *, enum usher_node_report); /* told at once */
/* The SFU process ended and another has begun: forgets all rooms and registers it with `replaces`. */
int usher_node_replace(struct usher_node *, const char *incarnation);
/* Deregisters; USHER_NODE_LEFT follows, also when no router answers (then within two seconds). */
void usher_node_leave(struct usher_node *);

/* -- a joiner: asks where a room is ------------------------------------------------------------------------------------- */
struct usher_join;
struct usher_join_options {
	size_t size; /* as of a node */
	const char *const *routers;
	size_t nrouters;
	const char *token;
	const char *room;
	const char *participant, *region, *pool; /* NULL: not said */
	const char *json;    /* further members of the body, as an object's inside: "\"require\":{\"gpu\":\"yes\"}"; NULL: none */
	uint64_t timeout_ms; /* of the whole, tries again included; 0: 10 s */
	void *arg;
	const char *tls_ca, *tls_cert, *tls_key; /* as of a node */
};
struct usher_joined {
	int status;             /* of the last answer; 0: no router answered */
	const char *code;       /* of a refusal: "no_capacity"; "" otherwise */
	const char *room, *node, *signal_url, *signal_mode; /* "" unless status is 200 */
	uint64_t epoch;
	const char *hints;      /* JSON object */
	const char *body;       /* the whole answer */
};
/* `done` is called once, from usher_join_turn(). Routers that are not reached or cannot tell make way for the next at once;
 * refusals that pass (503 with a wait) are tried again until timeout_ms, but no wait is begun that would not end by then. */
struct usher_join *usher_join(const struct usher_join_options *, void (*done)(void *arg, const struct usher_joined *), const char **why);
int usher_join_fd(struct usher_join *);
int usher_join_timeout_ms(struct usher_join *);
void usher_join_turn(struct usher_join *);
void usher_join_free(struct usher_join *); /* also cancels; not inside `done` */

#ifdef __cplusplus
}
#endif
