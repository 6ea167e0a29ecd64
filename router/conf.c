/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every setting of usherd, in the order of the reference page, with the reason for its default. docs/reference/config.md
 * is printed from this table, and a test compares the two.
 *
 * `shared` are the settings by which one router acts for all of its store, so that another value at another router is a fault
 * (event config_differs): how long silence and idleness may last (the shortest would decide for all, and a gate keeps to what
 * the last router told it), which nodes are accepted at all, what a charge in the store is worth and which node is full, what
 * a claim waits for, and the pace that all drains share. What a router does on its own (its listeners, limits, breakers and
 * the deadlines of its calls) may differ.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/listen.h"
#include "base/log.h"
#include "base/networks.h"
#include "base/trust.h"
#include "base/url.h"
#include "registry/nodes.h"
#include "registry/registry.h"
#include "router/conf.h"
#include "router/fault.h"

#define AT(member) offsetof(struct router_conf, member)
#define HOUR 3600000.0

static const char *const policy_words[] = { "least-loaded", NULL };
static const char *const level_words[] = { "debug", "info", "warn", "error", NULL };
static const char *const format_words[] = { "auto", "logfmt", "json", NULL };
static const char *const tls_words[] = { "1.2", "1.3", NULL };
static const char *const auth_words[] = { "none", "token", "jwt", NULL };

static bool is_cidr_list(const char *value, const char **why)
{
	*why = "must be networks like 10.0.0.0/8,::1/128";
	return networks_valid(value);
}

static bool is_optional_cidr_list(const char *value, const char **why)
{
	return !*value || is_cidr_list(value, why);
}

static bool is_http_url(const char *value, const char **why)
{
	struct url url;

	if (!*value)
		return true;
	if (!url_parse(value, &url, why))
		return false;
	*why = "must be an http or https URL";
	return !url.websocket;
}

static bool is_room_cost(const char *value, const char **why)
{
	char *end;
	double cost = strtod(value, &end);

	*why = "must be 'learned' or a number over 0, at most 1";
	return !strcmp(value, "learned") || (*value && !*end && cost > 0 && cost <= 1);
}

static bool is_redis_user(const char *value, const char **why)
{
	*why = "must be at most 127 bytes";
	return strlen(value) <= 127;
}

static bool is_redis_password(const char *value, const char **why)
{
	*why = "must be at most 255 bytes";
	return strlen(value) <= 255;
}

static bool is_prefix(const char *value, const char **why)
{
	*why = "must be 1 to 64 letters, digits, '.', '_', ':' or '-'";
	return strlen(value) <= 64 && glob_free_token(str_of(value));
}

/* clang-format off */
const struct conf_key router_conf_keys[] = {
	{ "server.listen", CONF_TEXT, AT(server.listen), .def = "127.0.0.1:8080", .help = "address and port for participants and everyone; loopback, so that a first start exposes nothing" },
	{ "server.admin_listen", CONF_TEXT, AT(server.admin_listen), .def = "", .def_words = "none", .help = "address and port that alone serves the scopes node, admin and metrics, when set" },
	{ "server.workers", CONF_INT, AT(server.workers), 0, 256, .def = "0", .def_words = "number of cores", .help = "threads that serve requests; 0 means one for each core" },
	{ "server.public_url", CONF_TEXT, AT(server.public_url), .def = "", .def_words = "derived from the request on loopback", .help = "how participants reach usher; required on a listener that is not loopback, as the Host header cannot be trusted for it", .check = is_http_url },
	{ "server.advertise_url", CONF_TEXT, AT(server.advertise_url), .def = "", .def_words = "http://listen, with tls.cert https://listen", .help = "how nodes and other routers reach this router", .check = is_http_url },
	{ "server.peer_ca", CONF_TEXT, AT(server.peer_ca), .def = "", .def_words = "the system's", .help = "file of PEM certificates: what sfu.tls_ca is to nodes, to other routers with an https server.advertise_url", .check = trust_ca_valid },
	{ "server.region", CONF_TEXT, AT(server.region), .def = "", .def_words = "none", .help = "the region wished for by joins that name none" },
	{ "server.trusted_proxies", CONF_TEXT, AT(server.trusted_proxies), .def = "", .def_words = "none", .help = "networks whose X-Forwarded-* headers are believed and passed on", .check = is_optional_cidr_list },
	{ "server.origins", CONF_TEXT, AT(server.origins), .def = "", .def_words = "none", .help = "origins (comma-separated, or *) allowed by CORS and for WebSocket upgrades from browsers", .reloadable = true },
	{ "server.hosts", CONF_TEXT, AT(server.hosts), .def = "", .def_words = "localhost, 127.0.0.1, [::1], hosts of the URLs and listeners above", .help = "further Host names that are answered (comma-separated; * for any); others get 400, against DNS rebinding" },
	{ "server.lame_duck_ms", CONF_INT, AT(server.lame_duck_ms), 0, HOUR, .def = "5000", .help = "from SIGTERM on /readyz says 503 so long while all is still served; longer than two checks of the load balancer" },
	{ "server.drain_ms", CONF_INT, AT(server.drain_ms), 0, HOUR, .def = "10000", .help = "then tunnels are closed politely, spread over this time, so that their clients do not return all at once" },
	{ "server.park_ms", CONF_INT, AT(server.park_ms), 0, 60000, .def = "3000", .help = "joins and tunnel openings that only need time wait so long before they are refused" },
	{ "server.core_dumps", CONF_BOOL, AT(server.core_dumps), .def = "false", .help = "let a crash leave a core, and a debugger of the same user look in: for finding faults; a core holds every secret" },

	{ "registry.url", CONF_TEXT, AT(registry.url), .def = "memory:", .help = "memory: (embedded, one router), redis://[[user]:password@]host:port[/db], redis+sentinel://[[user]:password@]host:port,host:port/master-name[/db] or redis+cluster://[[user]:password@]host:port,host:port", .secret = true, .check = registry_url_valid },
	{ "registry.sentinel_user", CONF_TEXT, AT(registry.sentinel_user), .def = "", .def_words = "the default one", .help = "user of the Sentinels themselves, which are asked with this and not with what registry.url says of the data servers", .check = is_redis_user },
	{ "registry.sentinel_password", CONF_TEXT, AT(registry.sentinel_password), .def = "", .def_words = "none", .help = "their password; without one they are asked without", .secret = true, .check = is_redis_password },
	{ "registry.prefix", CONF_TEXT, AT(registry.prefix), .def = "usher:", .help = "prefix of every key, so that several fleets can share a Redis", .check = is_prefix },
	{ "registry.timeout_ms", CONF_INT, AT(registry.timeout_ms), 10, 60000, .def = "500", .help = "one budget for all store work of a request; far over a healthy round trip, well under a person's patience" },
	{ "registry.wait_replicas", CONF_INT, AT(registry.wait_replicas), 0, 16, .def = "0", .help = "how many replicas must have an assignment or a lease renewal before it counts; set it to all of them to lose nothing in one failover", .shared = true },
	{ "registry.wait_ms", CONF_INT, AT(registry.wait_ms), 1, 60000, .def = "200", .help = "how long to wait for those replicas" },
	{ "registry.allow_memory", CONF_BOOL, AT(registry.allow_memory), .def = "false", .help = "allow memory: on a listener that is not loopback (a restart forgets all rooms, and a second router knows none of them)" },

	{ "nodes.heartbeat_ms", CONF_INT, AT(nodes.heartbeat_ms), 100, 60000, .def = "1000", .help = "how often nodes report", .shared = true },
	{ "nodes.lease_ms", CONF_INT, AT(nodes.lease_ms), 500, 600000, .def = "4000", .help = "how long a renewed node may admit participants without another renewal; at least two heartbeats", .shared = true },
	{ "nodes.grace_ms", CONF_INT, AT(nodes.grace_ms), 100, 60000, .def = "500", .help = "waited over the lease before a silent node is declared lost: covers clock rates and scheduling", .shared = true },
	{ "nodes.unfenced_ms", CONF_INT, AT(nodes.unfenced_ms), 500, 600000, .def = "15000", .help = "the same for nodes whose joins nothing fences (fences: none)", .shared = true },
	{ "nodes.unasked_ms", CONF_INT, AT(nodes.unasked_ms), 500, 86400000, .def = "600000", .help = "the same for nodes that name the routers they ask, and not this one: while those are all cut off from the store, such a node goes on", .shared = true },
	{ "nodes.unreachable_ms", CONF_INT, AT(nodes.unreachable_ms), 1000, HOUR, .def = "30000", .help = "a node that heartbeats while no router reaches it for so long is told as node_unreachable", .shared = true },
	{ "nodes.unreachable_drain", CONF_BOOL, AT(nodes.unreachable_drain), .def = "false", .help = "… and drained: off, as its participants may well reach it", .shared = true },
	{ "nodes.allow_cidr", CONF_TEXT, AT(nodes.allow_cidr), .def = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,127.0.0.0/8,fc00::/7,::1/128", .def_words = "private and loopback", .help = "networks that nodes' URLs may lead to; usher connects nowhere else, and to metadata services, multicast and their like never", .check = is_cidr_list, .shared = true },

	{ "rooms.table_max", CONF_INT, AT(rooms.table_max), 1000, 1e8, .def = "1000000", .help = "rooms this process remembers so that they need no store; about 1 KB each" },
	{ "rooms.trust_ms", CONF_INT, AT(rooms.trust_ms), 100, 60000, .def = "2000", .help = "how long remembered rooms are used unasked once the store's announcements stop" },
	{ "rooms.idle_ttl_ms", CONF_INT, AT(rooms.idle_ttl_ms), 1000, 24 * HOUR, .def = "60000", .help = "a room without participants and joins for so long is closed", .shared = true },
	{ "rooms.unreported_ttl_ms", CONF_INT, AT(rooms.unreported_ttl_ms), 1000, 30 * 24 * HOUR, .def = "86400000", .help = "the same for rooms of nodes that do not report their rooms", .shared = true },

	{ "placement.policy", CONF_WORD, AT(placement.policy), .words = policy_words, .def = "least-loaded", .help = "how a node is chosen for a new room", .shared = true },
	{ "placement.max_load", CONF_REAL, AT(placement.max_load), 0.01, 1e9, .def = "0.9", .help = "a node that reports so much load gets no new room; the rest is for its rooms to grow (with a room_cost that is set, charges count, too)", .shared = true },
	{ "placement.room_cost", CONF_TEXT, AT(placement.room_cost), .def = "learned", .def_words = "learned, starts at 0.01", .help = "load that one new room is charged with, as a fraction of an average node", .check = is_room_cost, .shared = true },
	{ "placement.ramp_ms", CONF_INT, AT(placement.ramp_ms), 1000, CHARGES_MS, .def = "180000", .help = "charges fade to zero over this time whatever happens; about how long most of a meeting's people take to come", .shared = true },
	{ "placement.slow_start_ms", CONF_INT, AT(placement.slow_start_ms), 0, 600000, .def = "10000", .help = "for so long a new node's load counts as raised, and it gets at most twice its share of new rooms", .shared = true },
	{ "placement.opens_per_node", CONF_INT, AT(placement.opens_per_node), 1, 10000, .def = "20", .help = "room openings under way at one node from this router" },
	{ "placement.explained", CONF_INT, AT(placement.explained), 0, 1000000, .def = "10000", .help = "placements whose explanation is kept; about 2 KB each" },
	{ "placement.max_participants_per_room", CONF_INT, AT(placement.max_participants_per_room), 0, 1e6, .def = "0", .def_words = "none", .help = "joins to a room with so many participants are refused; 0: no limit", .shared = true },

	{ "drain.moves_per_second", CONF_REAL, AT(drain.moves_per_second), 0.1, 10000, .def = "20", .help = "rooms that drains move in a second, all routers together: every move sends a room's participants to open new connections, and other nodes must bear them", .shared = true },

	{ "breaker.failures", CONF_INT, AT(breaker.failures), 1, 1000, .def = "5", .help = "failures in a row that open a breaker" },
	{ "breaker.window_ms", CONF_INT, AT(breaker.window_ms), 1000, 600000, .def = "10000", .help = "window of the failure rate" },
	{ "breaker.failure_rate", CONF_REAL, AT(breaker.failure_rate), 0.01, 1, .def = "0.5", .help = "share of failed calls in the window that opens a breaker" },
	{ "breaker.min_calls", CONF_INT, AT(breaker.min_calls), 1, 100000, .def = "20", .help = "calls the window must hold before the rate counts" },
	{ "breaker.open_ms", CONF_INT, AT(breaker.open_ms), 10, 600000, .def = "1000", .help = "first wait before a trial" },
	{ "breaker.backoff", CONF_REAL, AT(breaker.backoff), 1, 10, .def = "2", .help = "each failed trial multiplies the wait by this" },
	{ "breaker.max_open_ms", CONF_INT, AT(breaker.max_open_ms), 10, HOUR, .def = "30000", .help = "longest wait before a trial" },
	{ "breaker.jitter", CONF_REAL, AT(breaker.jitter), 0, 1, .def = "0.1", .help = "share by which waits are spread, so that routers do not try together" },
	{ "breaker.max_ejected", CONF_REAL, AT(breaker.max_ejected), 0, 1, .def = "0.5", .help = "past this share of a pool with open breakers, breakers no longer steer placement: then the fault is likely ours" },
	{ "probe.interval_ms", CONF_INT, AT(probe.interval_ms), 100, 600000, .def = "5000", .help = "how often health_url is asked" },
	{ "probe.timeout_ms", CONF_INT, AT(probe.timeout_ms), 10, 60000, .def = "2000", .help = "deadline of a probe" },

	{ "sfu.connect_timeout_ms", CONF_INT, AT(sfu.connect_timeout_ms), 10, 60000, .def = "1000", .help = "deadline of connecting to a node" },
	{ "sfu.call_timeout_ms", CONF_INT, AT(sfu.call_timeout_ms), 10, 60000, .def = "2000", .help = "deadline of usher's own calls" },
	{ "sfu.response_timeout_ms", CONF_INT, AT(sfu.response_timeout_ms), 100, HOUR, .def = "60000", .help = "first byte of the answer to a participant's request; Janus's long poll is silent for 30 s" },
	{ "sfu.stream_idle_ms", CONF_INT, AT(sfu.stream_idle_ms), 100, HOUR, .def = "60000", .help = "a stream without a byte either way for so long is cut" },
	{ "sfu.tls_ca", CONF_TEXT, AT(sfu.tls_ca), .def = "", .def_words = "the system's", .help = "file of PEM certificates: https and wss nodes must show one that chains to these CAs; read anew by SIGHUP", .check = trust_ca_valid },
	{ "sfu.tls_pins", CONF_TEXT, AT(sfu.tls_pins), .def = "", .def_words = "none", .help = "sha256//BASE64 of public keys, comma-separated: a node's certificate must have one of these, too", .check = trust_pins_valid },
	{ "tunnel.idle_ms", CONF_INT, AT(tunnel.idle_ms), 1000, 24 * HOUR, .def = "120000", .help = "a tunnel without a byte either way for so long is closed; clients ping more often" },

	{ "limits.body_bytes", CONF_INT, AT(limits.body_bytes), 1024, 1e9, .def = "65536", .help = "largest body of usher's own requests" },
	{ "limits.heartbeat_bytes", CONF_INT, AT(limits.heartbeat_bytes), 1024, 1e9, .def = "1048576", .help = "largest heartbeat: 4,096 rooms with names of 150 bytes and their grants fit; agents send up to 768 KiB" },
	{ "limits.header_bytes", CONF_INT, AT(limits.header_bytes), 1024, 1048576, .def = "16384", .help = "largest head of a request" },
	{ "limits.headers", CONF_INT, AT(limits.headers), 8, 1000, .def = "64", .help = "most header lines of a request" },
	{ "limits.connections", CONF_INT, AT(limits.connections), 1, 1e7, .def = "100000", .help = "connections at once; tunnels are counted too" },
	{ "limits.connections_per_address", CONF_INT, AT(limits.connections_per_address), 1, 1e7, .def = "1000", .help = "connections at once from one address (IPv6: one /64)" },
	{ "limits.reserved", CONF_INT, AT(limits.reserved), 0, 1e7, .def = "1000", .help = "of limits.connections, kept for nodes and operators: what comes over server.admin_listen, or without that from nodes.allow_cidr and not server.trusted_proxies; at most half of it" },
	{ "limits.tunnel_buffer_bytes", CONF_INT, AT(limits.tunnel_buffer_bytes), 4096, 16777216, .def = "65536", .help = "bytes kept for a slow reader, each way; then the fast side waits" },
	{ "limits.frame_bytes", CONF_INT, AT(limits.frame_bytes), 1024, 1e12, .def = "1048576", .help = "largest WebSocket frame either way, as sent: SDP of a large room with simulcast is some 100 KB" },
	{ "limits.message_bytes", CONF_INT, AT(limits.message_bytes), 1024, 1e12, .def = "1048576", .help = "largest WebSocket message, the sum of its frames; who sends more is closed with 1009" },
	{ "limits.parked", CONF_INT, AT(limits.parked), 0, 1e6, .def = "10000", .help = "requests that wait for time at once" },

	{ "limits.address_rate", CONF_REAL, AT(limits.address_rate), 0, 1e6, .def = "0", .def_words = "none", .help = "requests of scopes join and route in a second from one address (IPv6: one /64), to this router; two seconds' worth at once; then 429" },
	{ "limits.credential_rate", CONF_REAL, AT(limits.credential_rate), 0, 1e6, .def = "0", .def_words = "none", .help = "the same with one credential (a token's name, or sub)" },
	{ "limits.room_rate", CONF_REAL, AT(limits.room_rate), 0, 1e6, .def = "0", .def_words = "none", .help = "the same for one room" },

	{ "overload.target_ms", CONF_INT, AT(overload.target_ms), 0, 10000, .def = "10", .help = "work that is ready may wait so long for its turn; where even the least wait of an interval is longer, new rooms are refused, then joins, then signaling, operators and nodes last, those only where it is a tenth of nodes.lease_ms, too (CoDel takes 5 ms for packets, WeChat's DAGOR 20 for calls to many services); 0: never" },
	{ "overload.interval_ms", CONF_INT, AT(overload.interval_ms), 10, 10000, .def = "100", .help = "how often that is judged: long enough for a burst to pass (CoDel's 100 ms: a round trip of the internet)" },
	{ "overload.hold_ms", CONF_INT, AT(overload.hold_ms), 0, 10000, .def = "500", .help = "what participants ask and is refused as overloaded gets its answer so much later, and up to half as much again: who asks again at once over the same connection must not keep a router busy with refusals, and balancers are not to prefer it because it is quick at that; 0: at once" },

	{ "log.level", CONF_WORD, AT(log.level), .words = level_words, .def = "info", .help = "least level that is written", .reloadable = true },
	{ "log.format", CONF_WORD, AT(log.format), .words = format_words, .def = "auto", .help = "auto: logfmt on a terminal, else JSON" },
	{ "log.event_rate", CONF_REAL, AT(log.event_rate), 0, 1e6, .def = "100", .help = "lines a second of one event, five seconds' worth at once; the others are counted in a line log_suppressed: or whoever sends requests fills the disk. Not of changes of state, operators' doings and level debug; 0: no limit" },
	{ "tls.cert", CONF_TEXT, AT(tls.cert), .def = "", .def_words = "none: plain HTTP", .help = "file with the certificate chain in PEM, our own first: with it and tls.key server.listen and server.admin_listen speak TLS; read anew by SIGHUP" },
	{ "tls.key", CONF_TEXT, AT(tls.key), .def = "", .def_words = "none", .help = "file with its private key in PEM, without a passphrase; mode 0600; read anew by SIGHUP" },
	{ "tls.client_ca", CONF_TEXT, AT(tls.client_ca), .def = "", .def_words = "none: clients are not asked", .help = "file with CAs in PEM: a client certificate that one of them vouches for lets in the node that it names (its first DNS name that can be one, or the CN where it has no alternative names), with scope node; none is required; read anew by SIGHUP" },
	{ "tls.min_version", CONF_WORD, AT(tls.min_version), .words = tls_words, .def = "1.2", .help = "oldest TLS that is spoken: 1.2 reaches all browsers since 2014" },
	{ "auth.mode", CONF_WORD, AT(auth.mode), .words = auth_words, .def = "none", .help = "who may ask: none (anybody), token (those of auth.keys), jwt (whoever a key of auth.keys vouches for, and its tokens)", .shared = true },
	{ "auth.allow_insecure", CONF_BOOL, AT(auth.allow_insecure), .def = "false", .help = "allow auth.mode none on a listener that is not loopback" },
	{ "auth.keys", CONF_TEXT, AT(auth.keys), .def = "", .def_words = "none", .help = "file with {\"tokens\":[…],\"keys\":[…]}: hashes of tokens, and JSON Web Keys; mode 0600; read anew by SIGHUP" },
	{ "auth.ticket_keys", CONF_TEXT, AT(auth.ticket_keys), .def = "", .def_words = "none; one router alone makes its own", .help = "file with keys for tickets and sessions, one a line (usherctl token secret makes one), the same at all routers: the first signs, all are accepted; mode 0600; read anew by SIGHUP" },
	{ "auth.grant_keys", CONF_TEXT, AT(auth.grant_keys), .def = "", .def_words = "none: nodes are believed which rooms they were given", .help = "file with keys for grants, in the form of auth.ticket_keys, the same at all routers: nodes are called, and rooms restored from their reports, only with them; also without auth.mode; mode 0600; read anew by SIGHUP" },
	{ "auth.demand_grants", CONF_BOOL, AT(auth.demand_grants), .def = "true", .help = "with auth.grant_keys: nodes are told to demand grants, and believed no room without one; false while routers get their keys one after another: grants are shown, and nobody is refused for want of one", .shared = true },
	{ "auth.audience", CONF_TEXT, AT(auth.audience), .def = "", .def_words = "none: tokens that name one are refused", .help = "what aud of a JWT must name", .shared = true },
	{ "auth.issuer", CONF_TEXT, AT(auth.issuer), .def = "", .def_words = "any", .help = "what iss of a JWT must be", .shared = true },
	{ "auth.session_ms", CONF_INT, AT(auth.session_ms), 60000, 30 * 24 * HOUR, .def = "43200000", .help = "how long the cookie of plain HTTP signaling lets its holder go on: a long working day" },
	{ "auth.max_skew_ms", CONF_INT, AT(auth.max_skew_ms), 0, 30000, .def = "30000", .help = "how far nbf and iat of a JWT may lie ahead of our clock; exp is kept to the second" },
	{ "auth.admin_once", CONF_BOOL, AT(auth.admin_once), .def = "false", .help = "an operator's token names the one change that it is for, lets it happen once at all routers together, and ends within 10 minutes (usherctl --key makes one for each): who hears it can change nothing with it; with auth.mode jwt", .shared = true },
	{ "auth.wrong_per_minute", CONF_INT, AT(auth.wrong_per_minute), 0, 60000, .def = "60", .help = "wrong credentials from one address (IPv6: one /64), 20 at once; then 429 for all but those that were right before; 0: no limit" },
	{ "fault.at", CONF_TEXT, AT(fault.at), .def = "", .def_words = "none", .help = "tests only: the process exits when a request reaches this step (verb/step)" },
};
/* clang-format on */
const size_t router_conf_count = sizeof(router_conf_keys) / sizeof(*router_conf_keys);

double router_conf_room_cost(const struct router_conf *conf)
{
	return strcmp(conf->placement.room_cost, "learned") ? strtod(conf->placement.room_cost, NULL) : -1;
}

static int check_public(const struct router_conf *conf, const char *key, const char *address, FILE *err)
{
	int faults = 0;

	if (!*address || listen_is_loopback(address))
		return 0;
	if (!conf->auth.allow_insecure && conf->auth.mode == AUTH_NONE)
		faults++, fprintf(err, "%s: %s is not loopback and auth.mode is none: anyone who reaches it may register nodes; "
		                       "set auth.mode, or auth.allow_insecure=true if a network keeps others out\n", key, address);
	if (!strcmp(conf->registry.url, "memory:") && !conf->registry.allow_memory)
		faults++, fprintf(err, "%s: %s is not loopback and registry.url is memory:, which one router alone can use and a "
		                       "restart forgets; use redis://, or set registry.allow_memory=true\n", key, address);
	return faults;
}

static int check_auth(const struct router_conf *conf, FILE *err)
{
	int faults = 0;

	if (conf->auth.mode == AUTH_NONE)
		return 0;
	if (!*conf->auth.keys)
		faults++, fprintf(err, "auth.keys: required with auth.mode %s\n", auth_words[conf->auth.mode]);
	if (conf->auth.admin_once && conf->auth.mode != AUTH_JWT)
		faults++, fprintf(err, "auth.admin_once: needs auth.mode jwt: a static token cannot be made anew for each change\n");
	if (!*conf->auth.ticket_keys && strcmp(conf->registry.url, "memory:") != 0)
		faults++, fprintf(err, "auth.ticket_keys: required with auth.mode %s and a shared registry: each router must know the tickets of "
		                       "the others; usherctl token secret makes a key\n", auth_words[conf->auth.mode]);
	return faults;
}

static int check_tls(const struct router_conf *conf, FILE *err)
{
	bool cert = *conf->tls.cert, key = *conf->tls.key;
	int faults = 0;

	if (cert != key)
		faults++, fprintf(err, "%s: required, as %s is set: the listeners need a certificate and its key, or neither\n",
		                  cert ? "tls.key" : "tls.cert", cert ? "tls.cert" : "tls.key");
	if (*conf->tls.client_ca && !cert)
		faults++, fprintf(err, "tls.client_ca: has no effect without tls.cert and tls.key\n");
	if (*conf->tls.client_ca && conf->auth.mode == AUTH_NONE)
		faults++, fprintf(err, "tls.client_ca: has no effect with auth.mode none, which asks nobody who they are\n");
	return faults;
}

int router_conf_check(struct router_conf *conf, FILE *err)
{
	int faults = check_public(conf, "server.listen", conf->server.listen, err) +
		     check_public(conf, "server.admin_listen", conf->server.admin_listen, err);

	if (!listen_is_loopback(conf->server.listen) && !*conf->server.public_url)
		faults++, fprintf(err, "server.public_url: required, as server.listen is not loopback\n");
	if (conf->nodes.lease_ms < 2 * conf->nodes.heartbeat_ms)
		faults++, fprintf(err, "nodes.lease_ms: must be at least twice nodes.heartbeat_ms (%llu)\n",
		                  (unsigned long long)conf->nodes.heartbeat_ms);
	if (conf->breaker.max_open_ms < conf->breaker.open_ms)
		faults++, fprintf(err, "breaker.max_open_ms: must be at least breaker.open_ms\n");
	if ((*conf->registry.sentinel_password || *conf->registry.sentinel_user) && strncmp(conf->registry.url, "redis+sentinel://", 17))
		faults++, fprintf(err, "registry.sentinel_password: registry.url names no Sentinels\n");
	if (*conf->registry.sentinel_user && !*conf->registry.sentinel_password)
		faults++, fprintf(err, "registry.sentinel_user: needs registry.sentinel_password\n");
	if (*conf->fault.at && !faults_built)
		faults++, fprintf(err, "fault.at: this build has no fault points\n");
	faults += check_auth(conf, err) + check_tls(conf, err);
	if (!conf->server.workers)
		conf->server.workers = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
	return faults;
}
