/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: options anywhere, one command, at most one argument. An option that the command does not take is a
 * mistake of usage, not ignored: `close --limit` must not close.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/url.h"
#include "client/ctl/ctl.h"

#define URL_DEFAULT "http://127.0.0.1:8080"
#define TIMEOUT_MS 10000
#define TOKEN_MAX 4096

struct option_row {
	const char *name, *value; /* value NULL: takes none */
	unsigned bit;             /* 0: every command takes it */
	bool (*set)(struct ctl *, const char *value);
	const char *help;
};

static bool set_url(struct ctl *ctl, const char *value) { ctl->url = value; return true; }
static bool set_json(struct ctl *ctl, const char *value) { (void)value; ctl->json = true; return true; }
static bool set_ca(struct ctl *ctl, const char *value) { ctl->trust.ca = value; return true; }
static bool set_cert(struct ctl *ctl, const char *value) { ctl->trust.cert = value; return true; }
static bool set_cert_key(struct ctl *ctl, const char *value) { ctl->trust.key = value; return true; }
static bool set_node(struct ctl *ctl, const char *value) { ctl->node = value; return true; }
static bool set_prefix(struct ctl *ctl, const char *value) { ctl->prefix = value; return true; }
static bool set_participant(struct ctl *ctl, const char *value) { ctl->participant = value; return true; }
static bool set_region(struct ctl *ctl, const char *value) { ctl->region = value; return true; }
static bool set_pool(struct ctl *ctl, const char *value) { ctl->pool = value; return true; }
static bool set_policy(struct ctl *ctl, const char *value) { ctl->policy = value; return true; }
static bool set_scope(struct ctl *ctl, const char *value) { ctl->scope = value; return true; }
static bool set_room(struct ctl *ctl, const char *value) { ctl->room = value; return true; }
static bool set_as(struct ctl *ctl, const char *value) { ctl->as = value; return true; }
static bool set_alg(struct ctl *ctl, const char *value) { ctl->alg = value; return true; }
static bool set_kid(struct ctl *ctl, const char *value) { ctl->kid = value; return true; }
static bool set_key(struct ctl *ctl, const char *value) { ctl->key = value; return true; }
static bool set_audience(struct ctl *ctl, const char *value) { ctl->audience = value; return true; }
static bool set_issuer(struct ctl *ctl, const char *value) { ctl->issuer = value; return true; }
static bool set_for(struct ctl *ctl, const char *value) { return parse_u64(str_of(value), &ctl->for_ms) && ctl->for_ms; }
static bool set_wait(struct ctl *ctl, const char *value) { (void)value; ctl->wait = true; return true; }
static bool set_own(struct ctl *ctl, const char *value) { (void)value; ctl->own = true; return true; }
static bool set_deadline(struct ctl *ctl, const char *value) { return parse_u64(str_of(value), &ctl->deadline_ms) && ctl->deadline_ms; }
static bool set_force(struct ctl *ctl, const char *value) { (void)value; ctl->force = true; return true; }
static bool set_limit(struct ctl *ctl, const char *value) { return parse_u64(str_of(value), &ctl->limit) && ctl->limit; }
static bool set_epoch(struct ctl *ctl, const char *value) { return parse_u64(str_of(value), &ctl->epoch) && ctl->epoch; }
static bool set_timeout(struct ctl *ctl, const char *value) { return parse_u64(str_of(value), &ctl->timeout_ms) && ctl->timeout_ms; }

static const struct option_row option_rows[] = {
	{ "url", "URL", 0, set_url, "a router (else USHER_URL, else " URL_DEFAULT ")" },
	{ "ca", "FILE", 0, set_ca, "the CAs that an https router must chain to (else USHER_CA_FILE, else the system's)" },
	{ "cert", "FILE", 0, set_cert, "a certificate to show it (else USHER_CERT_FILE)" },
	{ "cert-key", "FILE", 0, set_cert_key, "its key, mode 0600 (else USHER_CERT_KEY_FILE)" },
	{ "json", NULL, 0, set_json, "print the router's answer as it came; of a list, page after page" },
	{ "timeout-ms", "N", 0, set_timeout, "give up a call after so long (10000)" },
	{ "node", "NODE", OPTION_NODE, set_node, "rooms: only of this node; move: to this one; token: only as this one" },
	{ "prefix", "TEXT", OPTION_PREFIX, set_prefix, "rooms: only names that begin so" },
	{ "limit", "N", OPTION_LIMIT, set_limit, "nodes, rooms: at most so many (all)" },
	{ "participant", "NAME", OPTION_PARTICIPANT, set_participant, "join: as whom" },
	{ "region", "REGION", OPTION_REGION, set_region, "join: the wish for a new room" },
	{ "pool", "POOL", OPTION_POOL, set_pool, "join: the pool of a new room" },
	{ "epoch", "N", OPTION_EPOCH, set_epoch, "close, move: only if the room is at this epoch" },
	{ "force", NULL, OPTION_FORCE, set_force, "close: whatever its epoch; remove: the machine is off" },
	{ "policy", "POLICY", OPTION_DRAIN, set_policy, "drain: wait until rooms end (default), or move them now" },
	{ "deadline-ms", "N", OPTION_DRAIN, set_deadline, "drain: what is left then is moved (none)" },
	{ "wait", NULL, OPTION_DRAIN, set_wait, "drain: follow it until it is over; 1 if it does not come to that" },
	{ "own", NULL, OPTION_DRAIN, set_own, "drain: of the process that is the node now, ending with it; for stop hooks" },
	{ "scope", "WORDS", OPTION_TOKEN, set_scope, "token: join, route, node, admin, metrics; several in quotes" },
	{ "room", "ROOM", OPTION_TOKEN, set_room, "token: only this room, or rooms by prefix*" },
	{ "as", "NAME", 0, set_as, "token, --key: who has it, for the log" },
	{ "for-ms", "N", OPTION_TOKEN, set_for, "token jwt: how long it is valid (an hour)" },
	{ "key", "FILE", 0, set_key, "sign a token for each call with this private JSON Web Key, mode 0600 (else USHER_KEY_FILE, before USHER_TOKEN_FILE); token jwt: with this" },
	{ "audience", "TEXT", 0, set_audience, "token jwt, --key: auth.audience of the routers" },
	{ "issuer", "TEXT", 0, set_issuer, "token jwt, --key: auth.issuer of the routers" },
	{ "alg", "ALG", OPTION_TOKEN, set_alg, "token key: HS256, ES256 or EdDSA" },
	{ "kid", "NAME", OPTION_TOKEN, set_kid, "token key: its name" },
};
#define OPTIONS (sizeof(option_rows) / sizeof(*option_rows))
enum { HELP = OPTIONS, VERSION };

static void print_options(FILE *out)
{
	char left[40];

	for (size_t i = 0; i < OPTIONS; i++) {
		const struct option_row *row = &option_rows[i];

		snprintf(left, sizeof(left), "--%s%s%s", row->name, row->value ? " " : "", row->value ? row->value : "");
		fprintf(out, "  %-20s %s\n", left, row->help);
	}
	fprintf(out, "  %-20s %s\n  %-20s %s\n", "--help", "this text", "--version", "the version");
}

static void print_help(FILE *out)
{
	char left[40];

	fprintf(out, "usherctl: look at and change a running usher\n\nusherctl [OPTIONS] COMMAND [NAME]\n\nCommands:\n");
	for (const struct command *c = commands; c->name; c++) {
		snprintf(left, sizeof(left), "%s%s%s", c->name, c->argument ? " " : "", c->argument ? c->argument : "");
		fprintf(out, "  %-20s %s\n", left, c->help);
	}
	fprintf(out, "\nOptions:\n");
	print_options(out);
	fprintf(out, "\nEnvironment:\n"
	             "  %-20s the default of --url\n"
	             "  %-20s a file whose first line is the bearer token to send\n"
	             "  %-20s the default of --key\n"
	             "  %-20s the default of --ca\n"
	             "  %-20s the default of --cert\n"
	             "  %-20s the default of --cert-key\n"
	             "\nExit code: 0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 unreachable\n"
	             "\nExamples:\n"
	             "  usherctl nodes\n"
	             "  usherctl join standup --participant ann\n"
	             "  usherctl --json rooms --prefix team/ | jq '.rooms[].room'\n"
	             "  usherctl close standup --epoch 1795328740704\n"
	             "  usherctl drain sfu-3 --policy move --deadline-ms 30000 --wait\n"
	             "  usherctl room -- --odd-name\n",
	        "USHER_URL", "USHER_TOKEN_FILE", "USHER_KEY_FILE", "USHER_CA_FILE", "USHER_CERT_FILE", "USHER_CERT_KEY_FILE");
}

static int usage(struct ctl *ctl, const char *what, const char *which)
{
	fprintf(ctl->err, "usherctl: %s%s%s; see usherctl --help\n", what, which ? ": " : "", which ? which : "");
	return CTL_USAGE;
}

static int set_option(struct ctl *ctl, const struct option_row *row, const char *value, unsigned *given)
{
	*given |= row->bit;
	if (row->set(ctl, value))
		return CTL_DONE;
	fprintf(ctl->err, "usherctl: --%s must be a whole number from 1\n", row->name);
	return CTL_USAGE;
}

/* -1: go on; else the exit code. */
static int parse_options(struct ctl *ctl, int argc, char **argv, unsigned *given)
{
	struct option longs[OPTIONS + 3] = { 0 };
	int which;

	for (size_t i = 0; i < OPTIONS; i++)
		longs[i] = (struct option){ option_rows[i].name, option_rows[i].value ? required_argument : no_argument, NULL, (int)i };
	longs[OPTIONS] = (struct option){ "help", no_argument, NULL, HELP };
	longs[OPTIONS + 1] = (struct option){ "version", no_argument, NULL, VERSION };
	optind = 0; /* getopt starts anew */
	opterr = 0;
	while ((which = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
		if (which == HELP)
			return print_help(ctl->out), CTL_DONE;
		if (which == VERSION)
			return fprintf(ctl->out, "usherctl %s\n", USHER_VERSION), CTL_DONE;
		if (which == '?' || which == ':')
			return usage(ctl, which == ':' ? "option without its value" : "unknown option", argv[optind - 1]);
		if (set_option(ctl, &option_rows[which], optarg, given))
			return CTL_USAGE;
	}
	return -1;
}

static const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

static int choose_command(struct ctl *ctl, char **words, int count, unsigned given, const struct command **out)
{
	const struct command *command;

	if (!count)
		return print_help(ctl->err), CTL_USAGE;
	command = command_find(words[0]);
	if (!command)
		return usage(ctl, "unknown command", words[0]);
	if (given & ~command->options)
		return usage(ctl, "an option that this command does not take", command->name);
	if (command->argument && (count < 2 || !*words[1]))
		return usage(ctl, "the command needs", command->argument);
	if (count > (command->argument ? 2 : 1))
		return usage(ctl, "too much", words[command->argument ? 2 : 1]);
	ctl->name = command->argument ? words[1] : NULL;
	*out = command;
	return CTL_DONE;
}

/* The first line of the file; only what may stand in a header (RFC 6750: token68). */
static int read_token(struct ctl *ctl, const char *path, char token[static TOKEN_MAX])
{
	FILE *file = path && *path ? fopen(path, "re") : NULL;
	bool read;

	if (!path || !*path)
		return CTL_DONE;
	read = file && fgets(token, TOKEN_MAX, file);
	if (file)
		fclose(file);
	if (!read)
		return usage(ctl, "USHER_TOKEN_FILE cannot be read", path);
	if (strlen(token) == TOKEN_MAX - 1)
		return usage(ctl, "USHER_TOKEN_FILE holds more than a token", path);
	token[strcspn(token, "\r\n")] = '\0';
	if (!*token || strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=") != strlen(token))
		return usage(ctl, "USHER_TOKEN_FILE holds no token", path);
	ctl->token = token;
	return CTL_DONE;
}

static int check_url(struct ctl *ctl)
{
	struct url url;
	const char *why = NULL;

	if (!url_parse(ctl->url, &url, &why) || url.websocket || url.query.len)
		return usage(ctl, "the URL of the router must be http:// or https:// without a query", ctl->url);
	return CTL_DONE;
}

static const char *given_or(const char *option, const char *variable)
{
	return option ? option : variable && *variable ? variable : NULL;
}

/* A pair is the command line's or the environment's, not one half of each. */
static int check_trust(struct ctl *ctl, const char *(*env)(const char *))
{
	struct trust *trust = &ctl->trust;
	bool told = trust->cert || trust->key;
	const char *why = NULL;

	trust->ca = given_or(trust->ca, env("USHER_CA_FILE"));
	trust->cert = given_or(trust->cert, told ? NULL : env("USHER_CERT_FILE"));
	trust->key = given_or(trust->key, told ? NULL : env("USHER_CERT_KEY_FILE"));
	if (!trust_ca_valid(trust->ca ? trust->ca : "", &why))
		return usage(ctl, why, trust->ca);
	if (!trust_pair_valid(trust->cert, trust->key, &why))
		return usage(ctl, why, trust->key ? trust->key : trust->cert);
	return CTL_DONE;
}

static int run(struct ctl *ctl, const struct command *command)
{
	const struct http_conf conf = { .connect_timeout_ms = ctl->timeout_ms, .connections_per_host = 1, .idle_connections = 1,
		                        .idle_ms = 1000, .trust = &ctl->trust, .quiet = true };
	int code = CTL_FAILED;

	ctl->loop = loop_new();
	ctl->http = ctl->loop ? http_new(ctl->loop, &conf) : NULL;
	if (ctl->http)
		code = command->run(ctl);
	if (ctl->http)
		http_free(ctl->http);
	if (ctl->loop)
		loop_free(ctl->loop);
	arena_reset(&ctl->arena);
	return code;
}

/* A full disk must not look like an empty list. */
static int flush(struct ctl *ctl, int code)
{
	if (fflush(ctl->out) == 0 && !ferror(ctl->out))
		return code;
	fprintf(ctl->err, "usherctl: the output cannot be written\n");
	return code == CTL_DONE ? CTL_FAILED : code;
}

int ctl_main(int argc, char **argv, const char *(*env)(const char *), FILE *out, FILE *err)
{
	const char *url = env("USHER_URL"), *key = env("USHER_KEY_FILE");
	struct ctl ctl = { .url = url && *url ? url : URL_DEFAULT, .timeout_ms = TIMEOUT_MS, .out = out, .err = err };
	const struct command *command = NULL;
	char token[TOKEN_MAX];
	unsigned given = 0;
	int code = parse_options(&ctl, argc, argv, &given);

	if (code >= 0)
		return flush(&ctl, code);
	code = choose_command(&ctl, argv + optind, argc - optind, given, &command);
	if (code == CTL_DONE && command)
		code = check_url(&ctl);
	if (code == CTL_DONE && command)
		code = check_trust(&ctl, env);
	if (!ctl.key && key && *key)
		ctl.key = key;
	if (code == CTL_DONE && command && !ctl.key)
		code = read_token(&ctl, env("USHER_TOKEN_FILE"), token);
	return code == CTL_DONE && command ? flush(&ctl, run(&ctl, command)) : code;
}
