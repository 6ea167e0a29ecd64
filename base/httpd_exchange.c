/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request and its answer. MHD takes an answer at two moments only: in the handler's first call, which costs the
 * connection (so only refusals of heads and of requests with a body use it), and in its last, when the body has been
 * read. Whoever answers in between is kept until then; the rest of the body is swallowed, up to SWALLOW_MAX.
 */
#include <assert.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/error.h"
#include "base/httpd_mhd.h"
#include "base/link.h"

#define SWALLOW_MAX (1 << 20)
#define STREAM_BLOCK 65536 /* asked of a source at once */

static const char too_large[] = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/* -- the request --------------------------------------------------------------------------------------------------- */
struct exchange *exchange_new(struct conn *conn, struct MHD_Connection *mhd, struct str target)
{
	struct exchange *x = malloc(sizeof(*x)); /* calloc has none at hand */

	if (!x)
		abort();
	*x = (struct exchange){ .conn = conn, .mhd = mhd, .last_out = &x->out, .arena.spares = &conn->httpd->spares };
	conn->x = x;
	x->target = (struct str){ arena_copy(&x->arena, target.at, target.len), target.len };
	const char *query = memchr(x->target.at, '?', x->target.len);
	x->path = (struct str){ x->target.at, query ? (size_t)(query - x->target.at) : x->target.len };
	if (query)
		x->query = (struct str){ query + 1, x->target.len - x->path.len - 1 };
	return x;
}

void exchange_free(struct exchange *x)
{
	struct httpd *h = x->conn->httpd;

	x->conn->x = NULL;
	if (x->begun)
		h->ops->end(h->arg, x, x->end);
	buf_free(&x->body);
	arena_reset(&x->arena);
	free(x);
}

static enum MHD_Result count_header(void *arg, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                    const char *value, size_t len)
{
	(void)kind, (void)name, (void)name_len, (void)value, (void)len;
	++*(size_t *)arg;
	return MHD_YES;
}

static enum MHD_Result take_header(void *arg, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                   const char *value, size_t len)
{
	struct exchange *x = arg;

	/* MHD trims the front only; and "chunked " is no coding that it knows: our check must see what MHD has seen. */
	bool coding = name_len == 17 && !strncasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING, name_len);

	(void)kind;
	while (!coding && value && len && (value[len - 1] == ' ' || value[len - 1] == '\t'))
		len--;
	x->headers[x->nheaders++] = (struct header){ { name, name_len }, { value ? value : "", value ? len : 0 } };
	return MHD_YES;
}

static void read_head(struct exchange *x, const char *method, const char *version)
{
	size_t n = 0;

	strncpy(x->method, method, sizeof(x->method) - 1);
	x->http10 = !strcmp(version, "HTTP/1.0");
	MHD_get_connection_values_n(x->mhd, MHD_HEADER_KIND, count_header, &n);
	x->headers = arena_alloc(&x->arena, (n + 1) * sizeof(*x->headers));
	MHD_get_connection_values_n(x->mhd, MHD_HEADER_KIND, take_header, x);
}

const char *exchange_method(const struct exchange *x)
{
	return x->method;
}

struct str exchange_path(const struct exchange *x)
{
	return x->path;
}

struct str exchange_query(const struct exchange *x)
{
	return x->query;
}

struct str exchange_header(const struct exchange *x, const char *name)
{
	for (size_t i = 0; i < x->nheaders; i++)
		if (str_is_nocase(x->headers[i].name, name))
			return x->headers[i].value;
	return (struct str){ 0 };
}

const struct header *exchange_headers(const struct exchange *x, size_t *count)
{
	*count = x->nheaders;
	return x->headers;
}

const struct sockaddr_storage *exchange_peer(const struct exchange *x)
{
	return &x->conn->peer;
}

int exchange_tag(const struct exchange *x)
{
	return x->conn->tag;
}

bool exchange_http10(const struct exchange *x)
{
	return x->http10;
}

bool exchange_tls(const struct exchange *x)
{
	return x->conn->tls;
}

const struct tls_peer *exchange_certificate(const struct exchange *x)
{
	return x->conn->shown;
}

bool exchange_has_body(const struct exchange *x)
{
	return x->length != 0;
}

int64_t exchange_body_length(const struct exchange *x)
{
	return x->length;
}

struct str exchange_body(const struct exchange *x)
{
	return (struct str){ x->body.at, x->body.len };
}

bool exchange_body_here(const struct exchange *x)
{
	return x->ready_told;
}

struct arena *exchange_arena(struct exchange *x)
{
	return &x->arena;
}

void exchange_set(struct exchange *x, void *state)
{
	x->state = state;
}

void *exchange_get(const struct exchange *x)
{
	return x->state;
}

/* -- the answer, as MHD wants it ----------------------------------------------------------------------------------- */
static ssize_t read_source(void *arg, uint64_t pos, char *out, size_t max)
{
	struct exchange *x = arg;

	(void)pos;
	if (x->conn->gone)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	long n;
	do { /* `more` from inside the call says that it is worth asking again, at once */
		x->more = false;
		x->inside = true;
		n = x->source->read(x->source, out, max);
		x->inside = false;
	} while (n == SOURCE_WAIT && x->more);
	if (n == SOURCE_END)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (n == SOURCE_BROKEN)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (n > 0) {
		conn_deadline(x->conn, x->conn->httpd->conf.write_stall_ms);
		return n;
	}
	/* Silence is the source's, which has a deadline of its own; ours is for clients that do not read. */
	conn_deadline(x->conn, 0);
	MHD_suspend_connection(x->mhd);
	x->suspended = true;
	return 0;
}

/* MHD closes its descriptor without a shutdown; the connection lives on in the copy, without MHD's memory. */
static void leave_mhd(struct exchange *x, MHD_socket sock, struct link *out)
{
	int on = 1;

	epoll_ctl(x->conn->httpd->gone_set, EPOLL_CTL_DEL, sock, NULL);
	out->fd = fcntl(sock, F_DUPFD_CLOEXEC, 3);
	if (out->fd >= 0)
		setsockopt(out->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void on_upgrade(void *arg, struct MHD_Connection *mhd, void *context, const char *extra, size_t extra_len,
                       MHD_socket sock, struct MHD_UpgradeResponseHandle *urh)
{
	struct exchange *x = arg;
	struct conn *c = x->conn;
	struct link client = { .fd = -1 };
	struct buf early = { 0 };

	(void)mhd, (void)context;
	buf_add(&early, extra, extra_len);
	if (c->front)
		front_leave(c->front, &client, &early);
	else if (!c->tls)
		leave_mhd(x, sock, &client);
	x->queued = false; /* without a link the client is lost */
	if (client.fd >= 0) {
		x->end = EXCHANGE_GIVEN;
		c->given = true;
		x->given(x->given_arg, &client, (struct str){ early.at, early.len });
	}
	buf_free(&early);
	MHD_upgrade_action(urh, MHD_UPGRADE_ACTION_CLOSE);
	httpd_dirty(c->httpd);
}

static struct MHD_Response *make_response(struct exchange *x)
{
	if (x->kind == ANSWER_UPGRADE)
		return MHD_create_response_for_upgrade(on_upgrade, x);
	uint64_t length = x->stream_length < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)x->stream_length;
	if (x->kind == ANSWER_STREAM)
		return MHD_create_response_from_callback(length, STREAM_BLOCK, read_source, x, NULL);
	return MHD_create_response_from_buffer(x->bytes.len, (void *)(uintptr_t)x->bytes.at, MHD_RESPMEM_PERSISTENT);
}

static void add_headers(struct exchange *x, struct MHD_Response *response)
{
	for (const struct header_out *out = x->out; out; out = out->next)
		MHD_add_response_header(response, out->name, out->value);
	if (x->kind != ANSWER_UPGRADE && (x->close_after || x->conn->httpd->closing))
		MHD_add_response_header(response, "Connection", "close");
}

static enum MHD_Result queue_answer(struct exchange *x)
{
	if (x->kind == ANSWER_CUT)
		return MHD_NO;
	struct MHD_Response *response = make_response(x);
	if (!response)
		return MHD_NO;
	add_headers(x, response);
	enum MHD_Result result = MHD_queue_response(x->mhd, (unsigned)x->status, response);
	MHD_destroy_response(response);
	x->queued = result == MHD_YES;
	conn_deadline(x->conn, x->conn->httpd->conf.write_stall_ms);
	return result;
}

/* -- the handler's calls ------------------------------------------------------------------------------------------- */
void exchange_resume(struct exchange *x)
{
	if (!x->suspended)
		return;
	x->suspended = false;
	if (!x->mhd) {
		early_go_on(x->conn);
		return;
	}
	MHD_resume_connection(x->mhd);
	x->conn->httpd->resumed = true;
	httpd_dirty(x->conn->httpd);
}

static void suspend(struct exchange *x)
{
	MHD_suspend_connection(x->mhd);
	x->suspended = true;
}

static void refuse(struct exchange *x, int err, const char *detail)
{
	struct httpd *h = x->conn->httpd;

	x->close_after = true;
	h->ops->refuse(h->arg, x, err, detail);
	assert(x->kind != ANSWER_NONE);
}

static bool too_much_to_collect(const struct exchange *x)
{
	return x->kind == ANSWER_NONE && !x->sink && x->length > (int64_t)x->conn->httpd->conf.body_bytes;
}

static void begin(struct exchange *x)
{
	struct httpd *h = x->conn->httpd;

	x->begun = true;
	h->ops->begin(h->arg, x);
	if (too_much_to_collect(x))
		refuse(x, ERR_PAYLOAD_TOO_LARGE, "the body is over the limit");
}

/* The head is there. False: it was refused. */
static bool meet(struct exchange *x, bool version_known)
{
	struct httpd *h = x->conn->httpd;
	const char *detail = NULL;

	x->first_done = true;
	conn_deadline(x->conn, 0);
	/* Who was let in by a certificate is judged anew after a reload; his next request comes by a handshake of its own. */
	if (x->conn->shown && x->conn->front && front_judge(x->conn->front, h->ops->tls(h->arg)))
		x->close_after = true;
	int err = httpd_check_head(x, &h->conf, &detail);
	if (!err && !version_known)
		err = ERR_BAD_REQUEST, detail = "only HTTP/1.1 and HTTP/1.0";
	x->inside = true;
	if (err)
		refuse(x, err, detail);
	else
		begin(x);
	x->inside = false;
	return !err;
}

enum MHD_Result exchange_first(struct exchange *x, const char *method, const char *version)
{
	read_head(x, method, version);
	bool met = meet(x, x->http10 || !strcmp(version, "HTTP/1.1"));
	bool waits = met && (!exchange_has_body(x) || x->kind == ANSWER_UPGRADE); /* for the last call: it is free */
	if (x->kind == ANSWER_NONE || (waits && x->kind != ANSWER_CUT)) {
		x->body_left_ms = x->conn->httpd->conf.body_ms;
		if (exchange_has_body(x))
			body_time_runs(x);
		return MHD_YES;
	}
	x->conn->unread = exchange_has_body(x) && x->kind != ANSWER_CUT;
	x->close_after = true;
	return queue_answer(x);
}

static enum MHD_Result swallow(struct exchange *x, size_t *len)
{
	if (x->kind == ANSWER_CUT)
		return MHD_NO;
	if (!x->swallowed)
		conn_deadline(x->conn, x->conn->httpd->conf.body_ms);
	x->swallowed += *len;
	*len = 0;
	x->close_after = true;
	if (x->swallowed <= SWALLOW_MAX)
		return MHD_YES;
	if (x->kind == ANSWER_NONE) { /* a refusal that MHD takes no more */
		conn_say(x->conn, too_large);
		x->conn->unread = true;
	}
	return MHD_NO;
}

/*
 * MHD offers what is left only when it is resumed, or more has come: so nothing is left but for a suspended connection.
 */
static enum MHD_Result give_to_sink(struct exchange *x, const char *data, size_t *len)
{
	size_t all = *len;

	do {
		x->more = false;
		x->inside = true;
		size_t taken = x->sink->write(x->sink, data, *len);
		x->inside = false;
		assert(taken <= *len);
		data += taken;
		*len -= taken;
	} while (*len && x->more && x->kind == ANSWER_NONE);
	if (x->kind == ANSWER_CUT)
		return MHD_NO; /* now, not when the client says more */
	if (*len && x->kind != ANSWER_NONE)
		return swallow(x, len);
	body_time_bought(x, all - *len, *len);
	if (*len)
		suspend(x);
	return MHD_YES;
}

enum MHD_Result exchange_data(struct exchange *x, const char *data, size_t *len)
{
	if (x->kind != ANSWER_NONE || x->late_refusal)
		return swallow(x, len);
	if (x->sink)
		return give_to_sink(x, data, len);
	if (x->body.len + *len > x->conn->httpd->conf.body_bytes) {
		x->late_refusal = ERR_PAYLOAD_TOO_LARGE;
		return swallow(x, len);
	}
	buf_add(&x->body, data, *len);
	*len = 0;
	return MHD_YES;
}

static void body_over(struct exchange *x)
{
	struct httpd *h = x->conn->httpd;

	x->ready_told = true;
	conn_deadline(x->conn, 0);
	x->inside = true;
	if (x->sink && !x->swallowed) /* a part must not pass for the whole */
		x->sink->write(x->sink, NULL, 0);
	if (x->kind == ANSWER_NONE && x->late_refusal)
		refuse(x, x->late_refusal, "the body is over the limit");
	else if (x->kind == ANSWER_NONE)
		h->ops->ready(h->arg, x);
	x->inside = false;
}

void exchange_early(struct exchange *x, struct header *headers, size_t n)
{
	strcpy(x->method, MHD_HTTP_METHOD_GET);
	x->headers = headers;
	x->nheaders = n;
	meet(x, true);
	if (x->kind != ANSWER_CUT)
		body_over(x);
	x->suspended = true;
	if (x->kind != ANSWER_NONE)
		exchange_resume(x);
}

enum MHD_Result exchange_last(struct exchange *x)
{
	if (!x->ready_told)
		body_over(x);
	if (x->kind != ANSWER_NONE)
		return queue_answer(x);
	suspend(x);
	return MHD_YES;
}

/* -- answering ----------------------------------------------------------------------------------------------------- */
void exchange_stream_body(struct exchange *x, struct sink *sink)
{
	x->sink = sink;
}

void exchange_add(struct exchange *x, const char *name, struct str value)
{
	if (x->nout == HEADERS_OUT_MAX)
		return;
	struct header_out *out = arena_alloc(&x->arena, sizeof(*out) + value.len + 1);
	out->name = name;
	if (value.len)
		memcpy(out->value, value.at, value.len);
	*x->last_out = out;
	x->last_out = &out->next;
	x->nout++;
}

static void answer(struct exchange *x, enum answer_kind kind, int status)
{
	assert(x->kind == ANSWER_NONE);
	x->kind = kind;
	x->status = status;
	if (!x->inside)
		exchange_resume(x);
}

void exchange_answer(struct exchange *x, int status, struct str body)
{
	x->bytes = body.at ? body : STR("");
	answer(x, ANSWER_BYTES, status);
}

void exchange_answer_stream(struct exchange *x, int status, int64_t length, struct source *source)
{
	x->source = source;
	x->stream_length = length;
	answer(x, ANSWER_STREAM, status);
}

void exchange_upgrade(struct exchange *x, given_fn *given, void *arg)
{
	x->given = given;
	x->given_arg = arg;
	answer(x, ANSWER_UPGRADE, MHD_HTTP_SWITCHING_PROTOCOLS);
}

void exchange_cut(struct exchange *x)
{
	answer(x, ANSWER_CUT, 0);
	if (!x->inside) /* the rest of a body is not waited for */
		conn_cut(x->conn);
}

void exchange_more(struct exchange *x)
{
	if (x->inside)
		x->more = true;
	else
		exchange_resume(x);
}

void exchange_close(struct exchange *x)
{
	x->close_after = true;
}

bool exchange_answered(const struct exchange *x)
{
	return x->kind != ANSWER_NONE;
}
