/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No answer here makes usher guess: a call ends with the store's word or with store_unavailable, for which known rooms are
 * served from the table. Repeating is safe because each script may run twice (registry.h).
 */
#include <stdbool.h>
#include <string.h>

#include "registry/redis_error.h"

const struct redis_error redis_errors[] = {
	{ "NOSCRIPT", CURE_TEXT, "the script cache was emptied", "nothing to do" },
	{ "MOVED", CURE_MOVE, "the key's slot lives elsewhere", "cluster: nothing to do; with `redis://`, use `redis+cluster://`" },
	{ "ASK", CURE_ASK, "the key's slot is on its way elsewhere", "nothing to do" },
	{ "TRYAGAIN", CURE_WAIT, "a slot is on its way, its keys on both sides", "nothing to do" },
	{ "CLUSTERDOWN", CURE_WAIT, "slots without a node, or no majority of primaries", "look at CLUSTER INFO" },
	{ "BUSY", CURE_WAIT, "somebody's script does not end", "SCRIPT KILL, and find who runs it" },
	{ "READONLY", CURE_LEAVE, "this server is a replica now", "nothing to do where Sentinel or the cluster chose another primary" },
	{ "REDIRECT", CURE_LEAVE, "this server is a replica now (Valkey)", "as READONLY" },
	{ "LOADING", CURE_LEAVE, "the server has started and reads its data", "wait" },
	{ "MASTERDOWN", CURE_LEAVE, "a replica that has lost its primary", "look at the replication" },
	{ "UNBLOCKED", CURE_LEAVE, "the server became a replica under a waiting call", "as READONLY" },
	{ "ERR max number of clients", CURE_LEAVE, "maxclients is reached", "raise maxclients: (workers + 1) connections for each router, "
	  "twice as many with wait_replicas" },
	{ "DENIED", CURE_LEAVE, "protected mode: no password is set and we are not local", "set a password" },
	{ "NOAUTH", CURE_LOGIN, "a password is required", "put it into registry.url; of Sentinels: registry.sentinel_password" },
	{ "WRONGPASS", CURE_LOGIN, "the password is wrong", "mend registry.url; routers try once a second" },
	{ "ERR invalid password", CURE_LOGIN, "the password is wrong (before Redis 6)", "as WRONGPASS" },
	{ "ERR AUTH", CURE_LOGIN, "a password was given and none is set", "take it out of registry.url, or set it in Redis" },
	{ "ERR Client sent AUTH", CURE_LOGIN, "a password was given and none is set (before Redis 6)", "as ERR AUTH" },
	{ "ERR DB index", CURE_LEAVE, "the URL's database does not exist", "mend registry.url" },
	{ "ERR SELECT is not allowed", CURE_LEAVE, "a cluster has database 0 only", "mend registry.url" },
	{ "OOM", CURE_REFUSE, "maxmemory is reached; leases are still renewed, and rooms closed", "give Redis memory" },
	{ "MISCONF", CURE_REFUSE, "Redis cannot write to its disk and refuses to change data", "mend the disk; see Redis's log" },
	{ "NOREPLICAS", CURE_REFUSE, "fewer replicas than min-replicas-to-write", "mend the replicas" },
	{ "NOPERM", CURE_REFUSE, "the user's ACL forbids a command, key or channel", "see docs/operate/redis.md for what is needed" },
	{ "WRONGTYPE", CURE_REFUSE, "a key under the prefix belongs to somebody else", "choose another registry.prefix" },
	{ "CROSSSLOT", CURE_REFUSE, "keys of one script in two slots", "a defect of usher or a proxy in between; report it" },
	{ "ERR Script attempted to access", CURE_REFUSE, "keys of one script at two nodes", "as CROSSSLOT" },
	{ "ERR unknown command", CURE_REFUSE, "the server lacks, or has renamed, a command", "Redis 6.2 or newer; rename nothing that usher uses" },
	{ "ERR unknown subcommand", CURE_REFUSE, "as above", "as above" },
	{ "ERR This instance has cluster support disabled", CURE_REFUSE, "`redis+cluster://` names a server that is no cluster",
	  "use `redis://`" },
	{ "ERR The client ID you want redirect to does not exist", CURE_REFUSE, "the link that hears of changes was cut just now",
	  "nothing to do: it is made anew" },
	{ "NOPROTO", CURE_NEVER, "RESP3 is not spoken (usher speaks RESP2)", "" },
	{ "NOTBUSY", CURE_NEVER, "SCRIPT KILL without a script", "" },
	{ "UNKILLABLE", CURE_NEVER, "SCRIPT KILL of a script that has written", "wait, or restart Redis; meanwhile calls get BUSY" },
	{ "EXECABORT", CURE_NEVER, "a transaction with a fault", "" },
	{ "BUSYKEY", CURE_NEVER, "RESTORE, MIGRATE over a key", "" },
	{ "BUSYGROUP", CURE_NEVER, "streams", "" },
	{ "NOGROUP", CURE_NEVER, "streams", "" },
	{ "INVALIDOBJ", CURE_NEVER, "HyperLogLogs", "" },
	{ "IOERR", CURE_NEVER, "MIGRATE", "" },
	{ "NOMASTERLINK", CURE_NEVER, "replication", "" },
	{ "INPROG", CURE_NEVER, "SENTINEL FAILOVER twice", "" },
	{ "NOGOODSLAVE", CURE_NEVER, "SENTINEL FAILOVER without a replica", "" },
	{ "NOQUORUM", CURE_NEVER, "SENTINEL CKQUORUM", "look at the Sentinels" },
	{ "ERR", CURE_REFUSE, "anything else", "the log has the words" },
};
const size_t redis_errors_count = sizeof redis_errors / sizeof *redis_errors;

/* "ERR Error running script (call to f_…): @user_script:9: @user_script: 9: -READONLY You can't …" */
static const char *true_error(const char *text)
{
	const char *inner;

	if (strncmp(text, "ERR Error running script", 24) != 0)
		return text;
	inner = strstr(text, ": -");
	return inner ? inner + 3 : text;
}

const struct redis_error *redis_error_of(const char *text)
{
	const struct redis_error *best = NULL, *otherwise = &redis_errors[redis_errors_count - 1];

	text = true_error(text);
	for (size_t i = 0; i < redis_errors_count; i++) {
		const struct redis_error *e = &redis_errors[i];
		size_t len = strlen(e->begins);
		bool word = !strchr(e->begins, ' '); /* BUSY is not BUSYKEY */

		if (strncmp(text, e->begins, len) == 0 && (!word || text[len] == ' ' || !text[len]) && (!best || len > strlen(best->begins)))
			best = e;
	}
	return best ? best : otherwise;
}

void redis_errors_print(FILE *out)
{
	static const char *const cures[] = {
		[CURE_TEXT] = "sent again with the script's text",
		[CURE_MOVE] = "sent to the node that the answer names; the map of slots is read anew",
		[CURE_ASK] = "sent once to the node that the answer names, after ASKING",
		[CURE_WAIT] = "sent again each 50 ms while the request's budget lasts, then 503 `store_unavailable`",
		[CURE_LEAVE] = "503 `store_unavailable`; the connection is given up, the primary looked for anew",
		[CURE_LOGIN] = "503 `store_unavailable`; one login a second from the whole process",
		[CURE_REFUSE] = "503 `store_unavailable`; the log says `store_error`",
		[CURE_NEVER] = "usher sends nothing that gets this; as `ERR`",
	};

	fprintf(out, "# Errors of Redis\n\nWhat a router does when Redis or Valkey refuses. The longest beginning counts. Requests for known "
	             "rooms are answered\nthroughout.\n\n| answer | means | the router | you |\n|---|---|---|---|\n");
	for (size_t i = 0; i < redis_errors_count; i++)
		fprintf(out, "| `%s` | %s | %s | %s |\n", redis_errors[i].begins, redis_errors[i].means, cures[redis_errors[i].cure],
		        redis_errors[i].act);
}
