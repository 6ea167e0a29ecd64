/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process: what there is once. The main thread's loop is the keeper: it accepts connections, writes the table of rooms and
 * the view of the fleet, chooses nodes, judges breakers, probes and sweeps. It serves no request, so none waits for it but a
 * new room's choice.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "base/loop.h"
#include "base/trust.h"
#include "router/conf.h"
#include "router/overload.h"

struct access;
struct certificate;
struct doubts;
struct events;
struct fleet;
struct http;
struct keeper;
struct limits;
struct listen_set;
struct listener;
struct metrics;
struct peers;
struct place;
struct probes;
struct rebuild;
struct registry;
struct retire;
struct sheet;
struct store;
struct sweep;
struct unlisted;
struct unreachables;
struct worker;

enum router_phase { PHASE_STARTING, PHASE_SERVING, PHASE_LEAVING };
enum listener_tag { LISTENER_PUBLIC, LISTENER_ADMIN };

struct router {
	struct router_conf conf;
	const struct conf_cli *cli;     /* where the settings came from, for reading them again */
	_Atomic(const char *) origins;  /* server.origins, as last reloaded */
	struct reloaded *reloaded;      /* reload.c */
	struct networks *proxies, *nodes_from; /* server.trusted_proxies, nodes.allow_cidr: who comes from there */
	struct egress *egress;                 /* nodes.allow_cidr: where we connect to */
	struct trust sfu_trust, peer_trust; /* whom TLS believes */
	_Atomic unsigned trust_read;        /* how often their files were to be read anew */
	char id[65];             /* host:pid:random, for records and the list of routers */
	const char *public_url;  /* NULL: derived from each request */
	const char *advertise_url;
	const char *const *hosts; /* Host names that are answered; NULL-terminated; {"*"}: any */
	struct access *access;
	struct certificate *certificate;
	struct limits *limits;
	struct loop *loop;       /* the keeper */
	struct retire *retire;
	struct metrics *metrics;
	struct sheet *sheet;
	struct registry *registry;
	struct store *store;
	struct http *http;
	struct fleet *fleet;
	struct place *place;
	struct keeper *keeper;
	struct probes *probes;
	struct events *events;
	struct peers *peers;
	struct doubts *doubts;
	struct rebuild *rebuild;
	struct sweep *sweep;
	struct mover *mover;
	struct unlisted *unlisted;
	struct unreachables *unreachables;
	struct listen_set *listeners;
	struct listener *listener, *admin_listener;
	struct loop **worker_loops; /* before the workers: retire wants them */
	struct worker **workers;
	size_t nworkers, next_worker;
	struct timer stop_timer, tick, judging;
	struct overload overload;    /* the keeper's own, */
	_Atomic int keeper_permille; /* and its pressure for the workers */
	uint64_t leaving_ms;
	_Atomic int phase;       /* enum router_phase */
	_Atomic uint64_t parked;
	int exit_code;
};

/* Builds everything and serves until stopped. Returns the exit code. */
int router_run(struct router *);

/* -- its parts, for who turns the loops himself ------------------------------------------------------------------------------ */
bool router_build(struct router *); /* all of it; the workers have no threads yet. False: said why */
void router_begin(struct router *); /* the keeper's work */
void router_take_apart(struct router *);
