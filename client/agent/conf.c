/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every setting of usher-agent, in the order of the reference page, with the reason for its default. Secrets are better
 * kept in files (…_file): a command line and an environment can be read by others.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/listen.h"
#include "base/log.h"
#include "base/str.h"
#include "base/trust.h"
#include "base/url.h"
#include "base/wire/limits.h"
#include "client/agent/adapter.h"
#include "client/agent/conf.h"

#define AT(member) offsetof(struct agent_conf, member)
#define HOUR 3600000.0
#define SECRET_MAX 4096

const struct adapter_ops *const agent_adapters[] = { &adapter_janus, &adapter_echo };
static const char *const adapter_words[] = { "janus", "echo", NULL }; /* in the same order */
static const char *const lease_end_words[] = { "refuse", "drop", NULL };
static const char *const store_loss_words[] = { "go_on", "fence", NULL };
static const char *const level_words[] = { "debug", "info", "warn", "error", NULL };
static const char *const format_words[] = { "auto", "logfmt", "json", NULL };

/* -- checks of single keys ------------------------------------------------------------------------------------------------ */
static bool is_node(const char *value, const char **why)
{
	*why = "must be 1 to 64 letters, digits, '.', '_' or '-'";
	return !*value || node_valid(value, strlen(value));
}

static bool is_url(const char *value, bool websocket, const char **why)
{
	struct url url;

	if (!*value)
		return true;
	if (!url_parse(value, &url, why))
		return false;
	*why = websocket ? "must be a ws or wss URL" : "must be an http or https URL";
	if (url.websocket != websocket)
		return false;
	*why = "must have no query";
	return !url.query.len;
}

static bool is_ws_url(const char *value, const char **why)
{
	return is_url(value, true, why);
}

static bool is_http_url(const char *value, const char **why)
{
	return is_url(value, false, why);
}

static bool is_any_url(const char *value, const char **why)
{
	struct url url;

	return !*value || url_parse(value, &url, why);
}

static bool is_router_list(const char *value, const char **why)
{
	struct str rest = str_of(value), piece;
	char text[URL_MAX_BYTES + 1];
	struct url url;
	size_t n = 0;

	*why = "must be http or https URLs, comma-separated";
	while (str_cut(&rest, ',', &piece)) {
		while (piece.len && *piece.at == ' ')
			piece.at++, piece.len--;
		if (piece.len > URL_MAX_BYTES)
			return false;
		snprintf(text, sizeof(text), "%.*s", STR_ARG(piece));
		if (!url_parse(text, &url, NULL) || url.websocket)
			return false;
		n++;
	}
	return n;
}

static bool is_host(const char *value, const char **why)
{
	*why = "must be a name or an address, IPv6 in brackets, without a port";
	for (const char *c = value; *c; c++)
		if (!strchr("[]:", *c) && !node_valid(c, 1))
			return false;
	return !strchr(value, ':') || *value == '[';
}

/* clang-format off */
const struct conf_key agent_conf_keys[] = {
	{ "agent.node", CONF_TEXT, AT(node), .def = "", .def_words = "the machine's name", .help = "the node's id, one for each SFU; two processes with one id keep each other out", .check = is_node },
	{ "agent.routers", CONF_TEXT, AT(routers), .def = "http://127.0.0.1:8080", .help = "routers to register at, comma-separated; one is enough, its answers name the others, but only listed ones help at a start", .check = is_router_list },
	{ "agent.adapter", CONF_WORD, AT(adapter), .words = adapter_words, .def = "janus", .help = "the kind of SFU; echo is one inside the agent, for trying out: signaling without media" },
	{ "agent.sfu_url", CONF_TEXT, AT(sfu_url), .def = "ws://127.0.0.1:8188", .help = "the SFU's WebSocket address, on loopback so that the gate is the only way in; Janus' own default", .check = is_ws_url },
	{ "agent.sfu_http_url", CONF_TEXT, AT(sfu_http_url), .def = "", .def_words = "sfu_url with the scheme changed", .help = "the SFU's HTTP address with its path: http://127.0.0.1:8088/janus for a stock Janus", .check = is_http_url },
	{ "agent.sfu_admin_url", CONF_TEXT, AT(sfu_admin_url), .def = "http://127.0.0.1:7088/admin", .help = "where the agent opens and ends rooms; Janus' own default", .check = is_http_url },
	{ "agent.listen", CONF_TEXT, AT(listen), .def = "127.0.0.1:0", .help = "the gate: routers connect here; port 0 asks the kernel, since the address is told to the routers anyway" },
	{ "agent.control_listen", CONF_TEXT, AT(control_listen), .def = "127.0.0.1:0", .help = "where routers open and end rooms and ask for health; only routers should reach it" },
	{ "agent.advertise_host", CONF_TEXT, AT(advertise_host), .def = "", .def_words = "the host of the listener", .help = "the name or address under which routers reach both listeners; required when one listens on all addresses", .check = is_host },
	{ "agent.advertise_url", CONF_TEXT, AT(advertise_url), .def = "", .def_words = "none", .help = "public_signal_url: where participants reach the gate without a router in between, for joins that wish mode direct: wss://sfu1.example.com/signal; what stands there (TLS) leads to agent.listen", .check = is_any_url },
	{ "agent.origins", CONF_TEXT, AT(origins), .def = "", .def_words = "none", .help = "pages whose browsers may come to advertise_url: https://app.example.com, comma-separated; * for any" },
	{ "agent.gate", CONF_BOOL, AT(gate), .def = "true", .help = "stand in front of the SFU's signaling; false registers sfu_url itself with fences: rooms, which keeps nobody out when the lease is over" },
	{ "agent.token_file", CONF_TEXT, AT(token_file), .def = "", .def_words = "none", .help = "file with the token for the routers; read anew for each registration of a new SFU process" },
	{ "agent.tls_ca", CONF_TEXT, AT(tls_ca), .def = "", .def_words = "the system's", .help = "file of PEM certificates: https routers must show one that chains to these CAs", .check = trust_ca_valid },
	{ "agent.tls_cert", CONF_TEXT, AT(tls_cert), .def = "", .def_words = "none", .help = "file of the certificate, with its chain, that is shown to routers that ask for one; read at each new connection" },
	{ "agent.tls_key", CONF_TEXT, AT(tls_key), .def = "", .def_words = "none", .help = "file of its key; mode 0600" },
	{ "agent.sfu_ca", CONF_TEXT, AT(sfu_ca), .def = "", .def_words = "the system's", .help = "the same as agent.tls_ca for the SFU, where its addresses are wss and https", .check = trust_ca_valid },
	{ "agent.pool", CONF_TEXT, AT(pool), .def = "", .def_words = "default", .help = "joins that name a pool are placed only there" },
	{ "agent.region", CONF_TEXT, AT(region), .def = "", .def_words = "none", .help = "joins may wish or require it" },
	{ "agent.zone", CONF_TEXT, AT(zone), .def = "", .def_words = "none", .help = "for people" },
	{ "agent.labels.*", CONF_MAP, AT(labels), .help = "labels that joins may prefer or require: agent.labels.gpu = yes" },
	{ "agent.capacity_rooms", CONF_INT, AT(capacity_rooms), 0, 1e9, .def = "0", .def_words = "not said", .help = "rooms at once; also a hard limit" },
	{ "agent.capacity_participants", CONF_INT, AT(capacity_participants), 0, 1e9, .def = "0", .def_words = "not said", .help = "participants at once; also a hard limit" },
	{ "agent.capacity_bandwidth_mbps", CONF_INT, AT(capacity_bandwidth_mbps), 0, 1e9, .def = "0", .def_words = "not said", .help = "Mbit/s each way; without it bandwidth is no term of the load" },
	{ "agent.at_lease_end", CONF_WORD, AT(at_lease_end), .words = lease_end_words, .def = "refuse", .help = "when no router renews the lease: refuse joins and let those inside talk on, or drop them too" },
	{ "agent.on_store_loss", CONF_WORD, AT(on_store_loss), .words = store_loss_words, .def = "go_on", .help = "when every router says that the store is gone nobody can place our rooms anew: go_on admits, fence refuses all the same" },
	{ "agent.sick_ms", CONF_INT, AT(sick_ms), 1000, HOUR, .def = "10000", .help = "an SFU that fails its check for so long is sick: the gate closes, its rooms are given up, and it is killed if the agent started it" },
	{ "agent.command", CONF_TEXT, AT(command), .def = "", .def_words = "none: somebody else starts it", .help = "starts the SFU (one program with its arguments, by /bin/sh); the agent starts it again when it ends, and stops it when it leaves" },
	{ "agent.core_dumps", CONF_BOOL, AT(core_dumps), .def = "false", .help = "let a crash leave a core, and a debugger of the same user look in: for finding faults; a core holds every secret" },
	{ "agent.admin_secret", CONF_TEXT, AT(admin_secret), .def = "", .def_words = "none", .help = "admin_secret of janus.jcfg", .secret = true },
	{ "agent.admin_secret_file", CONF_TEXT, AT(admin_secret_file), .def = "", .def_words = "none", .help = "file with it, instead" },
	{ "agent.admin_key", CONF_TEXT, AT(admin_key), .def = "", .def_words = "none", .help = "admin_key of janus.plugin.videoroom.jcfg; secrets and pins of rooms are derived from it, so it must outlive the agent", .secret = true },
	{ "agent.admin_key_file", CONF_TEXT, AT(admin_key_file), .def = "", .def_words = "none", .help = "file with it, instead" },
	{ "agent.echo_load", CONF_REAL, AT(echo_load), -1, 1e9, .def = "-1", .def_words = "measured", .help = "echo only: the cpu that it reports, for trying out placement" },
	{ "agent.connect_timeout_ms", CONF_INT, AT(connect_timeout_ms), 10, 60000, .def = "1000", .help = "deadline of connecting to the SFU, which is on this machine" },
	{ "agent.call_timeout_ms", CONF_INT, AT(call_timeout_ms), 10, 60000, .def = "1500", .help = "deadline of the agent's own calls to the SFU; under sfu.call_timeout_ms of the routers, so that they hear of it" },
	{ "agent.response_timeout_ms", CONF_INT, AT(response_timeout_ms), 100, HOUR, .def = "65000", .help = "first byte of the answer to a participant's request; a little over sfu.response_timeout_ms of the routers, who know that a long poll's silence is no fault" },
	{ "agent.stream_idle_ms", CONF_INT, AT(stream_idle_ms), 100, HOUR, .def = "65000", .help = "a stream without a byte either way for so long is cut; a little over sfu.stream_idle_ms" },
	{ "agent.tunnel_idle_ms", CONF_INT, AT(tunnel_idle_ms), 1000, 24 * HOUR, .def = "130000", .help = "the same for tunnels; a little over tunnel.idle_ms of the routers, whose close says more" },
	{ "agent.connections", CONF_INT, AT(connections), 1, 1e6, .def = "20000", .help = "connections at once, and tunnels at once" },
	{ "agent.tunnel_buffer_bytes", CONF_INT, AT(tunnel_buffer_bytes), 4096, 16777216, .def = "65536", .help = "bytes kept for a slow reader, each way; then the fast side waits" },
	{ "agent.frame_bytes", CONF_INT, AT(frame_bytes), 1024, 1e12, .def = "1048576", .help = "largest WebSocket frame either way; as limits.frame_bytes of the routers" },
	{ "agent.message_bytes", CONF_INT, AT(message_bytes), 1024, 1e12, .def = "1048576", .help = "largest WebSocket message, the sum of its frames; as limits.message_bytes of the routers" },
	{ "agent.drain_ms", CONF_INT, AT(drain_ms), 0, HOUR, .def = "5000", .help = "after SIGTERM tunnels are closed politely, spread over this time, so that their clients do not return all at once" },
	{ "log.level", CONF_WORD, AT(log_level), .words = level_words, .def = "info", .help = "least level that is written" },
	{ "log.format", CONF_WORD, AT(log_format), .words = format_words, .def = "auto", .help = "auto: logfmt on a terminal, else JSON" },
};
/* clang-format on */
const size_t agent_conf_count = sizeof(agent_conf_keys) / sizeof(*agent_conf_keys);

/* -- secrets -------------------------------------------------------------------------------------------------------------- */
char *agent_conf_read_secret(const char *path)
{
	char text[SECRET_MAX + 2] = "";
	FILE *file = fopen(path, "re");

	if (!file)
		return NULL;
	char *line = fgets(text, sizeof(text), file);
	fclose(file);
	size_t from = line ? strspn(line, " \t") : 0, len = line ? strcspn(line + from, " \t\r\n") : 0;
	return len && len <= SECRET_MAX ? strndup(line + from, len) : NULL;
}

static int read_secret(const char **value, const char *path, const char *key, FILE *err)
{
	if (!*path)
		return 0;
	char *secret = agent_conf_read_secret(path);
	if (!secret)
		return fprintf(err, "%s: %s cannot be read, or its first line is empty\n", key, path), 1;
	free((char *)(uintptr_t)*value);
	*value = secret;
	return 0;
}

static int check_token(const struct agent_conf *conf, FILE *err)
{
	const char *token = "";

	if (!*conf->token_file)
		return 0;
	token = strdup("");
	int faults = read_secret(&token, conf->token_file, "agent.token_file", err);
	free((char *)(uintptr_t)token);
	return faults;
}

/* -- the whole ------------------------------------------------------------------------------------------------------------ */
static int name_node(struct agent_conf *conf, FILE *err)
{
	char host[NODE_MAX + 1] = "";

	if (*conf->node)
		return 0;
	if (gethostname(host, sizeof(host) - 1) || !node_valid(host, strlen(host)))
		return fprintf(err, "agent.node: required, as the machine's name is not one a node can have\n"), 1;
	free((char *)(uintptr_t)conf->node);
	conf->node = strdup(host);
	return 0;
}

static int check_pair(const struct agent_conf *conf, FILE *err)
{
	const char *why = NULL;

	return trust_pair_valid(conf->tls_cert, conf->tls_key, &why) ? 0 : (fprintf(err, "agent.tls_key: %s\n", why), 1);
}

static bool listens_everywhere(const char *address)
{
	return !strncmp(address, "0.0.0.0:", 8) || !strncmp(address, "[::]:", 5) || !strchr(address, ':');
}

static int check_listener(const struct agent_conf *conf, const char *key, const char *address, FILE *err)
{
	if (!*address)
		return fprintf(err, "%s: must be an address and a port, 10.0.0.7:7080\n", key), 1;
	if (listens_everywhere(address) && !*conf->advertise_host)
		return fprintf(err, "agent.advertise_host: required, as %s is %s\n", key, address), 1;
	return 0;
}

static int check_labels(const struct conf_map *labels, FILE *err)
{
	int faults = 0;

	if (labels->count > LABELS_MAX)
		faults++, fprintf(err, "agent.labels: at most %d\n", LABELS_MAX);
	for (size_t i = 0; i < labels->count; i++)
		if (strlen(labels->pairs[i].key) > LABEL_MAX || strlen(labels->pairs[i].value) > LABEL_MAX)
			faults++, fprintf(err, "agent.labels.%s: key and value have at most %d bytes\n", labels->pairs[i].key, LABEL_MAX);
	return faults;
}

int agent_conf_check(struct agent_conf *conf, FILE *err)
{
	int faults = name_node(conf, err);

	faults += check_listener(conf, "agent.listen", conf->listen, err);
	faults += check_listener(conf, "agent.control_listen", conf->control_listen, err);
	faults += check_labels(&conf->labels, err);
	faults += check_token(conf, err);
	faults += check_pair(conf, err);
	faults += read_secret(&conf->admin_secret, conf->admin_secret_file, "agent.admin_secret_file", err);
	faults += read_secret(&conf->admin_key, conf->admin_key_file, "agent.admin_key_file", err);
	if (*conf->command && agent_adapters[conf->adapter]->embedded)
		faults++, fprintf(err, "agent.command: the adapter %s is an SFU by itself\n", agent_adapters[conf->adapter]->name);
	return faults;
}
