/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl's multi handle on our loop. Three things curl would do on its own are forbidden: to send a request again on another
 * connection (a POST would be done twice), to follow redirects (an SFU must not choose where we go), and to use proxies. A
 * transfer is never removed from inside its own callback: what ends is collected after curl has returned.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/http_curl.h"
#include "base/log.h"
#include "base/trust.h"
#include "base/url.h"
#include "base/wait.h"

#define SPARE_MAX 64
#define REUSABLE_SINCE 0x080100 /* of curl's versions */
#define READ_BLOCK 65536L

static void pool_free(struct pool *pool)
{
	struct http *http = pool->http;
	struct pool **at = &http->pools;

	while (*at != pool)
		at = &(*at)->next;
	*at = pool->next;
	curl_multi_cleanup(pool->multi);
	timer_clear(http->loop, &pool->timer);
	loop_later_drop(http->loop, &pool->at_once);
	loop_later_drop(http->loop, &pool->collect);
	free(pool->sockets);
	free(pool);
}

/* -- curl on the loop ---------------------------------------------------------------------------------------------- */
static void collect_done(struct later *later)
{
	struct pool *pool = container_of(later, struct pool, collect);
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(pool->multi, &left))) {
		struct transfer *t = NULL;
		CURLcode code = message->data.result;
		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		t->done(t, code);
	}
	if (pool != pool->http->pools && !pool->transfers)
		pool_free(pool);
}

void pool_act(struct pool *pool, curl_socket_t fd, int action)
{
	int running;

	curl_multi_socket_action(pool->multi, fd, action, &running);
	collect_done(&pool->collect); /* now: an end is known before anybody acts on the last bytes */
}

static void timer_rings(struct timer *t)
{
	pool_act(container_of(t, struct pool, timer), CURL_SOCKET_TIMEOUT, 0);
}

static void act_at_once(struct later *later)
{
	pool_act(container_of(later, struct pool, at_once), CURL_SOCKET_TIMEOUT, 0);
}

/* Each transfer begins with a timer of 0 ms. What the loop does later comes before it sleeps next, without a wake-up of its own. */
static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct pool *pool = arg;
	struct loop *loop = pool->http->loop;

	(void)multi;
	timer_clear(loop, &pool->timer);
	loop_later_drop(loop, &pool->at_once);
	if (timeout_ms == 0)
		loop_later(loop, &pool->at_once, act_at_once);
	else if (timeout_ms > 0)
		timer_set(loop, &pool->timer, (uint64_t)timeout_ms, timer_rings);
	return 0;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfer *t = arg;
	const struct http_conf *conf = &t->http->conf;
	struct sockaddr_storage at = { 0 };

	(void)purpose;
	memcpy(&at, &address->addr, address->addrlen < sizeof(at) ? address->addrlen : sizeof(at));
	if (conf->allowed && !conf->allowed(conf->arg, &at))
		return CURL_SOCKET_BAD;
	int fd = socket(address->family, address->socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address->protocol);
	t->starved = t->starved || (fd < 0 && errno != EAFNOSUPPORT);
	return fd;
}

/* -- pools --------------------------------------------------------------------------------------------------------- */
static bool pool_new(struct http *http)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return false;
	pool->multi = curl_multi_init();
	if (!pool->multi) {
		free(pool);
		return false;
	}
	curl_multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, socket_watch);
	curl_multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
	curl_multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
	curl_multi_setopt(pool->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	curl_multi_setopt(pool->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)http->conf.connections_per_host);
	curl_multi_setopt(pool->multi, CURLMOPT_MAXCONNECTS, (long)http->conf.idle_connections);
	pool->http = http;
	pool->next = http->pools;
	http->pools = pool;
	return true;
}

/*
 * curl before 8.1.0 frees the lines of a head but not its pointer to the last of them, and a next head whose first line is folded
 * is written through that (curl/curl#11101): an SFU could overwrite our memory. There each easy handle is used once.
 */
static size_t spare_handles(void)
{
	return curl_version_info(CURLVERSION_NOW)->version_num >= REUSABLE_SINCE ? SPARE_MAX : 0;
}

/* curl separates with ';'. */
static char *curls_pins(const struct trust *trust)
{
	char *pins = trust && trust->pins && *trust->pins ? strdup(trust->pins) : NULL, *to = pins;

	for (const char *at = pins; at && *at; at++)
		if (*at != ' ')
			*to++ = (char)(*at == ',' ? ';' : *at);
	if (to)
		*to = '\0';
	return pins;
}

struct http *http_new(struct loop *loop, const struct http_conf *conf)
{
	struct http *http = calloc(1, sizeof(*http));

	/* Counted and thread-safe, so each loop may do it. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !http) {
		free(http);
		return NULL;
	}
	http->loop = loop;
	http->conf = *conf;
	http->pinned = curls_pins(conf->trust);
	http->spare = calloc(SPARE_MAX, sizeof(CURL *));
	http->spare_max = spare_handles();
	if (http->spare && pool_new(http))
		return http;
	free(http->spare);
	free(http->pinned);
	free(http);
	return NULL;
}

void http_free(struct http *http)
{
	if (!http)
		return;
	http->closing = true;
	while (http->pools) {
		while (http->pools->transfers)
			http->pools->transfers->done(http->pools->transfers, CURLE_ABORTED_BY_CALLBACK);
		pool_free(http->pools);
	}
	for (size_t i = 0; i < http->nspare; i++)
		curl_easy_cleanup(http->spare[i]);
	free(http->spare);
	free(http->pinned);
	free(http);
}

/* What is under way may end where it is; its connections are closed with the old pool. We may be in its collecting just now. */
void http_drop_pool(struct http *http)
{
	struct pool *old = http->pools;

	if (pool_new(http) && !old->transfers)
		loop_later(http->loop, &old->collect, collect_done);
}

/* -- transfers ----------------------------------------------------------------------------------------------------- */
static int about_to_send(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	struct transfer *t = arg;

	(void)ip, (void)local_ip, (void)port, (void)local_port;
	return t->sent++ && t->once ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static void set_fixed(struct transfer *t)
{
	curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(t->easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(t->easy, CURLOPT_PROXY, "");
	curl_easy_setopt(t->easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(t->easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(t->easy, CURLOPT_QUICK_EXIT, 1L); /* else an end joins the resolver's thread: seconds of stall */
	curl_easy_setopt(t->easy, CURLOPT_HTTP09_ALLOWED, 0L);
	curl_easy_setopt(t->easy, CURLOPT_BUFFERSIZE, READ_BLOCK);
	curl_easy_setopt(t->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(t->easy, CURLOPT_CLOSESOCKETFUNCTION, socket_close);
	curl_easy_setopt(t->easy, CURLOPT_PREREQFUNCTION, about_to_send);
}

/* curl would take a common name for the host's; so OpenSSL is told what to look for, as for tunnels. */
static CURLcode harden(CURL *easy, void *ctx, void *arg)
{
	struct url url = { 0 };
	char *text = NULL, host[256];

	(void)arg;
	curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &text);
	if (!text || !url_parse(text, &url, NULL))
		return CURLE_URL_MALFORMAT;
	snprintf(host, sizeof(host), "%.*s", STR_ARG(url.host));
	return trust_harden(ctx, host) ? CURLE_OK : CURLE_OUT_OF_MEMORY;
}

/* Verifying the chain and the name are curl's defaults; they are said so that a reader finds them. */
static void set_trust(struct transfer *t)
{
	const struct trust *trust = t->http->conf.trust;
	const char *file = trust_file(trust), *directory = trust_directory(trust);
	bool shows = trust && trust->cert && *trust->cert;

	curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(t->easy, CURLOPT_SSL_CTX_FUNCTION, harden);
	if (file || directory) { /* NULL too: else what is built into curl would be believed beside the other */
		curl_easy_setopt(t->easy, CURLOPT_CAINFO, file);
		curl_easy_setopt(t->easy, CURLOPT_CAPATH, directory);
	}
	curl_easy_setopt(t->easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);    /* else a file that is renewed counts after a day */
	curl_easy_setopt(t->easy, CURLOPT_SSL_SESSIONID_CACHE, 0L); /* else one is believed again whom a reload has taken out */
	if (t->http->pinned)
		curl_easy_setopt(t->easy, CURLOPT_PINNEDPUBLICKEY, t->http->pinned);
	if (shows) {
		curl_easy_setopt(t->easy, CURLOPT_SSLCERT, trust->cert);
		curl_easy_setopt(t->easy, CURLOPT_SSLKEY, trust->key);
	}
}

bool transfer_init(struct transfer *t, struct http *http, const char *method, const char *url, uint64_t connect_timeout_ms)
{
	*t = (struct transfer){ .http = http, .pool = http->pools };
	if (http->closing)
		return false;
	t->easy = http->nspare ? http->spare[--http->nspare] : curl_easy_init();
	if (!t->easy)
		return false;
	set_fixed(t);
	if (!strncasecmp(url, "https:", 6)) /* no redirect leads from one to the other */
		set_trust(t);
	curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->error);
	curl_easy_setopt(t->easy, CURLOPT_OPENSOCKETDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_CLOSESOCKETDATA, t->pool);
	curl_easy_setopt(t->easy, CURLOPT_PREREQDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_URL, url);
	curl_easy_setopt(t->easy, CURLOPT_NOBODY, !strcmp(method, "HEAD") ? 1L : 0L);
	curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_timeout_ms);
	curl_easy_setopt(t->easy, CURLOPT_MAXAGE_CONN, (long)(http->conf.idle_ms / 1000 + 1));
	return true;
}

struct line { /* curl reads the list only, so that item and text can be one block */
	struct curl_slist item;
	char text[];
};

static void add_line(struct transfer *t, struct str name, const char *mark, struct str value)
{
	size_t mark_len = strlen(mark);
	struct line *line = malloc(sizeof(*line) + name.len + mark_len + value.len + 1);

	if (!line)
		abort();
	memcpy(line->text, name.at, name.len);
	memcpy(line->text + name.len, mark, mark_len);
	if (value.len)
		memcpy(line->text + name.len + mark_len, value.at, value.len);
	line->text[name.len + mark_len + value.len] = '\0';
	line->item = (struct curl_slist){ .data = line->text };
	*(t->last_header ? &t->last_header->next : &t->headers) = &line->item;
	t->last_header = &line->item;
}

static void free_lines(struct transfer *t)
{
	for (struct curl_slist *item = t->headers, *next; item; item = next) {
		next = item->next;
		free(container_of(item, struct line, item));
	}
	t->headers = t->last_header = NULL;
}

void transfer_header(struct transfer *t, struct str name, struct str value)
{
	add_line(t, name, value.len ? ": " : ";", value); /* "Name;" is how curl is told to send an empty value */
}

void transfer_no_header(struct transfer *t, const char *name)
{
	add_line(t, str_of(name), ":", STR(""));
}

bool transfer_start(struct transfer *t)
{
	struct pool *pool = t->pool;

	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
	if (curl_multi_add_handle(pool->multi, t->easy) != CURLM_OK)
		return false;
	t->next = pool->transfers;
	t->at = &pool->transfers;
	if (t->next)
		t->next->at = &t->next;
	pool->transfers = t;
	return true;
}

void transfer_end(struct transfer *t)
{
	struct http *http = t->http;
	bool started = t->at;

	if (!t->easy)
		return;
	if (started) {
		socket_kept(t);
		curl_multi_remove_handle(t->pool->multi, t->easy);
		*t->at = t->next;
		if (t->next)
			t->next->at = t->at;
		t->at = NULL;
	}
	free_lines(t);
	if (http->nspare < http->spare_max) {
		curl_easy_reset(t->easy);
		http->spare[http->nspare++] = t->easy;
	} else {
		curl_easy_cleanup(t->easy);
	}
	t->easy = NULL;
	if (started && !t->pool->transfers && !http->closing)
		loop_later(http->loop, &t->pool->collect, collect_done); /* may be in there just now: it goes later */
}

static enum http_outcome distrusted(const struct transfer *t)
{
	struct url url = { 0 };
	char *text = NULL;

	if (t->http->conf.quiet)
		return HTTP_REFUSED;
	curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &text);
	if (text)
		url_parse(text, &url, NULL);
	log_warn("call_tls_failed", "host", LOG_B(url.authority.at, url.authority.len), "why", LOG_S(t->error));
	return HTTP_REFUSED;
}

enum http_outcome transfer_outcome(const struct transfer *t, CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return HTTP_ANSWERED;
	case CURLE_COULDNT_CONNECT:
		return t->starved ? HTTP_CANCELLED : HTTP_REFUSED;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_URL_MALFORMAT:
		return HTTP_REFUSED;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_SSL_CACERT_BADFILE: /* our own files were checked at the start */
	case CURLE_SSL_CERTPROBLEM:
		return distrusted(t);
	case CURLE_OPERATION_TIMEDOUT: /* also curl's word for a connection that was not made in time */
		return t->sent ? HTTP_TIMEOUT : HTTP_REFUSED;
	case CURLE_UNSUPPORTED_PROTOCOL: /* the URL's; or, once sent, an answer without a status line (HTTP/0.9) */
	case CURLE_OUT_OF_MEMORY:        /* also curl's word for a head over its limit */
		return t->sent ? HTTP_GARBAGE : HTTP_REFUSED;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
	case CURLE_WRITE_ERROR: /* our own callbacks refused what came */
		return HTTP_GARBAGE;
	case CURLE_ABORTED_BY_CALLBACK:
		return t->sent > 1 ? HTTP_RESET : HTTP_CANCELLED;
	default:
		return HTTP_RESET;
	}
}
