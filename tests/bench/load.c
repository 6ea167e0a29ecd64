/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load for one router, in one thread: participants, nodes that heartbeat, and the SFU behind all of those nodes. First the peak: as
 * many requests as PEAK_CLIENTS get answered that each wait for their answer. Then a multiple of that at a fixed rate, whatever
 * comes back (open loop): the time of each counts from when it was due, so a router that stalls is not spared by a generator that
 * stalls with it, and who has no answer when his patience ends breaks the connection, as people do.
 *
 *   load -t 127.0.0.1:8080 -n NODES -k ROOMS -p SECONDS -x TIMES -s SECONDS -d DEADLINE_MS -g PATIENCE_MS -m new=4,join=40,route=36,signal=20
 *
 * Last it prints one JSON object. good: 200 within the deadline; shed: 503 overloaded; late: 200 after it, or given up; error: any
 * other answer, or a broken connection; none: all of the -c connections were busy. skipped: the generator was late itself.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"

#define CONNS_MAX 16384
#define NODES_MAX 1000
#define ANSWER_MAX 4096
#define PEAK_CLIENTS 64
#define MS 1000000ull
#define SECOND 1000000000ull
#define HEARTBEAT_NS SECOND

enum kind { NEW, JOIN, ROUTE, SIGNAL, KINDS, HEARTBEAT = KINDS, SETUP };
enum outcome { GOOD, SHED, LATE, ERROR, NONE, OUTCOMES };
static const char *const kind_words[] = { "new", "join", "route", "signal" };
static const char *const outcome_words[] = { "good", "shed", "late", "error", "none" };

struct conn {
	int fd;
	bool sfu, listens, busy, linked;
	enum kind kind;
	unsigned node;
	uint64_t due;
	size_t got;
	struct conn *older, *newer; /* of those that are busy, by when they became so */
	char text[ANSWER_MAX];
};
static struct node { uint64_t registration, seq, next; struct conn *conn; bool alive; int listener, port; } nodes[NODES_MAX];
static struct phase {
	uint64_t counts[KINDS][OUTCOMES], times[KINDS][HISTOGRAM_STEPS];
	double seconds;
} peak, over, *phase;
static struct sockaddr_in router;
static char host[64];
static struct conn *idle[CONNS_MAX];
static struct conn *oldest, *newest, *dead;
static size_t nidle, nconns, nnodes = 50, in_flight, most = 4096;
static unsigned mix[KINDS] = { 4, 40, 36, 20 }, nrooms = 1000, made_rooms;
static uint64_t deadline_ns = SECOND, patience_ns = 2 * SECOND, setups, first_errors;
static uint64_t beats_sent, beats_good, beats_refused, beats_other, beat_worst_ns;
static int poller;
static bool closed_loop;
static uint64_t skipped;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t random_next(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13, x ^= x >> 7, x ^= x << 17;
	return x;
}

/* -- connections ------------------------------------------------------------------------------------------------------------ */
static void link_busy(struct conn *c)
{
	c->busy = c->linked = true;
	c->older = newest, c->newer = NULL;
	*(newest ? &newest->newer : &oldest) = c;
	newest = c;
	in_flight++;
}

static void unlink_busy(struct conn *c)
{
	if (!c->linked)
		return;
	*(c->older ? &c->older->newer : &oldest) = c->newer;
	*(c->newer ? &c->newer->older : &newest) = c->older;
	c->busy = c->linked = false;
	in_flight--;
}

static void drop(struct conn *c, bool reset)
{
	struct linger now = { 1, 0 };

	unlink_busy(c);
	for (size_t i = 0; !c->sfu && !c->got && i < nidle; i++)
		if (idle[i] == c)
			idle[i--] = idle[--nidle];
	if (reset) /* nothing is left of it in the kernel, or the ports run out */
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	if (c->kind == HEARTBEAT && !c->sfu && nodes[c->node].conn == c)
		nodes[c->node].conn = NULL;
	close(c->fd);
	if (!c->sfu)
		nconns--;
	c->fd = -1;
	c->newer = dead; /* an event of this turn may still name it */
	dead = c;
}

static struct conn *conn_add(int fd, bool sfu)
{
	struct conn *c = malloc(sizeof(*c));
	struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP, .data.ptr = c };
	int one = 1;

	assert(c);
	*c = (struct conn){ .fd = fd, .sfu = sfu };
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
	return c;
}

/* Nodes come from the address that the router knows nodes at, participants from another. */
static struct conn *connect_router(bool node)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + !node) };
	int fd = node || nconns < most ? socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;

	/* On loopback the kernel shakes hands for the listener at once; where its queue is full, nothing can be sent yet. */
	int one = 1;
	if (fd >= 0 && (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) ||
	                bind(fd, (const struct sockaddr *)&from, sizeof(from)))) {
		close(fd);
		return NULL;
	}
	if (fd < 0 || (connect(fd, (const struct sockaddr *)&router, sizeof(router)) < 0 && errno != EINPROGRESS)) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	nconns++;
	return conn_add(fd, false);
}

static bool send_text(struct conn *c, const char *text, size_t len)
{
	return send(c->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}

/* -- what is asked ---------------------------------------------------------------------------------------------------------- */
static size_t write_request(enum kind kind, char *out, size_t size, unsigned room)
{
	static const char *const form[] = {
		"POST /v1/rooms/new-%u/join HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n{\"participant\":\"ann\"}\n",
		"POST /v1/rooms/room-%u/join HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n{\"participant\":\"ann\"}\n",
		"GET /v1/rooms/room-%u/route HTTP/1.1\r\nHost: %s\r\n\r\n",
		"GET /v1/rooms/room-%u/signal/poll HTTP/1.1\r\nHost: %s\r\n\r\n",
	};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	return (size_t)snprintf(out, size, form[kind], room, host);
#pragma GCC diagnostic pop
}

static void count(enum kind kind, enum outcome outcome, uint64_t took)
{
	phase->counts[kind][outcome]++;
	if (outcome == GOOD)
		phase->times[kind][histogram_step(took)]++;
}

static void ask(enum kind kind, uint64_t due, struct conn *c)
{
	char text[512];

	unsigned room = kind == NEW ? made_rooms++ : (unsigned)(random_next() % nrooms);
	size_t len = write_request(kind, text, sizeof(text), room);
	c->kind = kind, c->due = due, c->got = 0;
	link_busy(c);
	if (!send_text(c, text, len)) {
		count(kind, errno == EAGAIN ? NONE : ERROR, 0);
		drop(c, true);
	}
}

/* All connections busy: a balancer would refuse it, too. */
static void ask_one(enum kind kind, uint64_t due)
{
	struct conn *c = nidle ? idle[--nidle] : connect_router(false);

	if (c)
		ask(kind, due, c);
	else
		count(kind, NONE, 0);
}

static enum kind next_kind(void)
{
	unsigned all = mix[NEW] + mix[JOIN] + mix[ROUTE] + mix[SIGNAL], at = (unsigned)(random_next() % all);
	enum kind kind = NEW;

	while (at >= mix[kind])
		at -= mix[kind], kind++;
	return kind;
}

/* -- nodes ------------------------------------------------------------------------------------------------------------------ */
static void node_send(unsigned i, enum kind kind, const char *method, const char *path, const char *body)
{
	struct node *node = &nodes[i];
	char text[1024];

	if (!node->conn && (node->conn = connect_router(true)))
		node->conn->node = i;
	if (!node->conn)
		return;
	int n = snprintf(text, sizeof(text), "%s /v1/nodes/node-%u%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
	                 "Content-Length: %zu\r\n\r\n%s", method, i, path, host, strlen(body), body);
	node->conn->kind = kind, node->conn->busy = true, node->conn->due = now_ns(), node->conn->got = 0;
	if (!send_text(node->conn, text, (size_t)n))
		drop(node->conn, true);
}

static void node_register(unsigned i)
{
	char body[512];

	snprintf(body, sizeof(body), "{\"incarnation\":\"i%u\",\"signal_url\":\"ws://127.0.0.1:%d/signal\",\"control_url\":"
	         "\"http://127.0.0.1:%d\",\"fences\":\"gate\"}", i, nodes[i].port, nodes[i].port);
	node_send(i, SETUP, "PUT", "", body);
}

static void node_beat(unsigned i)
{
	char body[512];

	if (nodes[i].conn && nodes[i].conn->busy)
		return; /* the one before has no answer yet: an agent waits for it, too */
	beats_sent++;
	snprintf(body, sizeof(body), "{\"incarnation\":\"i%u\",\"registration\":%llu,\"seq\":%llu,\"state\":\"ready\",\"load\":{\"cpu\":0.1}}", i,
	         (unsigned long long)nodes[i].registration, (unsigned long long)++nodes[i].seq);
	node_send(i, HEARTBEAT, "POST", "/heartbeat", body);
}

static void beat_due(uint64_t now)
{
	for (unsigned i = 0; i < nnodes; i++)
		if (nodes[i].alive && now >= nodes[i].next) {
			nodes[i].next += HEARTBEAT_NS;
			node_beat(i);
		}
}

static void node_answered(struct conn *c, int status, const char *body)
{
	const char *registration = strstr(body, "\"registration\":");
	struct node *node = &nodes[c->node];
	uint64_t took = now_ns() - c->due;

	c->busy = false;
	if (c->kind == SETUP && registration) {
		node->registration = strtoull(registration + 15, NULL, 10);
		node->alive = true;
		node->next = now_ns() + HEARTBEAT_NS * c->node / nnodes / 10;
		setups++;
		return;
	}
	if (took > beat_worst_ns)
		beat_worst_ns = took;
	if (status == 200 && strstr(body, "\"renewed\":true"))
		beats_good++;
	else if (status == 503)
		beats_refused++;
	else
		beats_other++;
}

/* -- answers ---------------------------------------------------------------------------------------------------------------- */
static void answered(struct conn *c, int status, const char *body)
{
	uint64_t now = now_ns(), took = now - c->due;
	bool closes = strstr(c->text, "\r\nConnection: close") != NULL;

	if (c->kind >= KINDS) {
		node_answered(c, status, body);
		c->got = 0;
		return;
	}
	if (status == 200)
		count(c->kind, took <= deadline_ns ? GOOD : LATE, took);
	else if (status == 503 && strstr(body, "\"overloaded\""))
		count(c->kind, SHED, took);
	else {
		if (first_errors++ < 10)
			fprintf(stderr, "%s: %d %s\n", kind_words[c->kind], status, body);
		count(c->kind, ERROR, took);
	}
	unlink_busy(c);
	c->got = 0;
	if (closes)
		drop(c, false);
	else if (closed_loop)
		ask(next_kind(), now, c);
	else
		idle[nidle++] = c;
}

/* Whatever the SFU is asked, it says yes. */
static void serve(struct conn *c, size_t whole)
{
	static const char yes[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

	memmove(c->text, c->text + whole, c->got - whole + 1);
	c->got -= whole;
	send_text(c, yes, sizeof(yes) - 1);
}

/* One message of those that have come, 0 if it is not whole yet. */
static size_t message(const struct conn *c, const char **body)
{
	const char *end = strstr(c->text, "\r\n\r\n"), *length = end ? strstr(c->text, "\r\nContent-Length:") : NULL; /* as usher writes it */

	if (!end)
		return 0;
	*body = end + 4;
	size_t whole = (size_t)(*body - c->text) + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
	return c->got >= whole ? whole : 0;
}

static void broken(struct conn *c)
{
	if (!c->sfu && c->busy && c->kind < KINDS)
		count(c->kind, ERROR, 0);
	drop(c, false);
}

static void readable(struct conn *c)
{
	ssize_t n = recv(c->fd, c->text + c->got, ANSWER_MAX - 1 - c->got, MSG_DONTWAIT);
	const char *body;
	size_t whole;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		broken(c);
		return;
	}
	c->got += (size_t)n;
	c->text[c->got] = 0;
	if (!c->sfu && (whole = message(c, &body)))
		answered(c, atoi(c->text + 9), body);
	while (c->sfu && (whole = message(c, &body)))
		serve(c, whole);
}

static void accept_sfu(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		conn_add(fd, true);
}

static void ready(struct conn *c)
{
	if (c->listens)
		accept_sfu(c->fd);
	else
		readable(c);
}

static void give_up(uint64_t now)
{
	while (oldest && now - oldest->due > patience_ns) {
		count(oldest->kind, LATE, 0);
		oldest->got = 1; /* it is not among the idle */
		drop(oldest, true);
	}
}

static void turn(int wait_ms)
{
	struct epoll_event events[512];
	int n = epoll_wait(poller, events, 512, wait_ms);

	for (int i = 0; i < n; i++)
		if (((struct conn *)events[i].data.ptr)->fd >= 0)
			ready(events[i].data.ptr);
	for (struct conn *c = dead; c; c = dead) {
		dead = c->newer;
		free(c);
	}
	uint64_t now = now_ns();
	beat_due(now);
	give_up(now);
}

/* -- the run ---------------------------------------------------------------------------------------------------------------- */
static void set_up(void)
{
	for (unsigned i = 0; i < nnodes; i++)
		node_register(i);
	while (setups < nnodes)
		turn(10);
	while (beats_good < nnodes)
		turn(10);
	/* Each room once, a few at a time; their joins make them. */
	char text[512];
	for (unsigned room = 0; room < nrooms || in_flight;) {
		for (; room < nrooms && in_flight < 4; room++) {
			struct conn *c = nidle ? idle[--nidle] : connect_router(false);
			assert(c);
			c->kind = JOIN, c->due = now_ns(), c->got = 0;
			link_busy(c);
			send_text(c, text, write_request(JOIN, text, sizeof(text), room));
		}
		turn(1);
	}
}

/* They are there before, as a balancer's are: what is measured is requests, not handshakes. */
static void open_all(void)
{
	while (nconns < most) {
		for (int n = 0; n < 32 && nconns < most; n++) {
			struct conn *c = connect_router(false);
			assert(c);
			idle[nidle++] = c;
		}
		turn(2);
	}
}

static void run_closed(double seconds)
{
	uint64_t begin = now_ns(), until = begin + (uint64_t)(seconds * 1e9);

	closed_loop = true;
	for (int i = 0; i < PEAK_CLIENTS; i++)
		ask(next_kind(), now_ns(), nidle ? idle[--nidle] : connect_router(false));
	while (now_ns() < until)
		turn(1);
	closed_loop = false;
	phase->seconds = (double)(now_ns() - begin) / 1e9;
	while (in_flight)
		turn(1);
}

static double run_open(double rate, double seconds)
{
	uint64_t begin = now_ns(), total = (uint64_t)(rate * seconds), made = 0;
	double step = 1e9 / rate, behind = 0;

	while (made < total || in_flight) {
		uint64_t now = now_ns();
		for (int n = 0; made < total && n < 64; n++, made++) {
			uint64_t due = begin + (uint64_t)((double)made * step);
			if (due > now)
				break;
			behind = (double)(now - due) > behind ? (double)(now - due) : behind;
			if (now - due > deadline_ns / 4)
				skipped++; /* it is the generator that is late */
			else
				ask_one(next_kind(), due);
		}
		turn(0);
	}
	phase->seconds = seconds > 0 ? seconds : 1;
	return behind / 1e6;
}

static double quantile(const uint64_t times[KINDS][HISTOGRAM_STEPS], int kind, double share)
{
	uint64_t sums[HISTOGRAM_STEPS] = { 0 }, all = 0, sum = 0;

	for (int k = 0; k < KINDS; k++)
		for (size_t i = 0; (kind < 0 || k == kind) && i < HISTOGRAM_STEPS; i++)
			sums[i] += times[k][i], all += times[k][i];
	for (size_t i = 0; i < HISTOGRAM_STEPS; i++)
		if ((sum += sums[i]) >= share * (double)all)
			return histogram_ms(i);
	return 0;
}

static uint64_t total_of(const struct phase *p, enum outcome outcome)
{
	uint64_t n = 0;

	for (int kind = 0; kind < KINDS; kind++)
		n += p->counts[kind][outcome];
	return n;
}

static void print_phase(const char *name, const struct phase *p)
{
	printf("\"%s\":{\"seconds\":%.3f,\"good_per_s\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f", name, p->seconds,
	       (double)total_of(p, GOOD) / p->seconds, quantile(p->times, -1, 0.5), quantile(p->times, -1, 0.99));
	for (int outcome = 0; outcome < OUTCOMES; outcome++)
		printf(",\"%s\":%llu", outcome_words[outcome], (unsigned long long)total_of(p, outcome));
	for (int kind = 0; kind < KINDS; kind++) {
		printf(",\"%s\":{\"p99_ms\":%.3f", kind_words[kind], quantile(p->times, kind, 0.99));
		for (int outcome = 0; outcome < OUTCOMES; outcome++)
			printf(",\"%s\":%llu", outcome_words[outcome], (unsigned long long)p->counts[kind][outcome]);
		printf("}");
	}
	printf("}");
}

/* Each node is a server of its own, or they would share what usher allows to one. */
static void listen_node(struct node *node)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct conn *c;
	socklen_t len = sizeof(at);

	node->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert(!bind(node->listener, (struct sockaddr *)&at, len) && !listen(node->listener, 4096));
	assert(!getsockname(node->listener, (struct sockaddr *)&at, &len));
	node->port = ntohs(at.sin_port);
	c = conn_add(node->listener, true);
	c->listens = true;
}

static void read_mix(char *text)
{
	memset(mix, 0, sizeof(mix));
	for (char *word = strtok(text, ","); word; word = strtok(NULL, ","))
		for (int kind = 0; kind < KINDS; kind++)
			if (!strncmp(word, kind_words[kind], strlen(kind_words[kind])) && word[strlen(kind_words[kind])] == '=')
				mix[kind] = (unsigned)atoi(strchr(word, '=') + 1);
}

int main(int argc, char **argv)
{
	double peak_s = 5, over_s = 10, times = 3;
	struct rlimit files;

	for (int o; (o = getopt(argc, argv, "t:n:k:p:x:s:d:g:m:c:")) != -1;)
		switch (o) {
		case 't': snprintf(host, sizeof(host), "%s", optarg); break;
		case 'n': nnodes = strtoul(optarg, NULL, 10); break;
		case 'k': nrooms = (unsigned)atoi(optarg); break;
		case 'p': peak_s = atof(optarg); break;
		case 'x': times = atof(optarg); break;
		case 's': over_s = atof(optarg); break;
		case 'd': deadline_ns = strtoull(optarg, NULL, 10) * MS; break;
		case 'g': patience_ns = strtoull(optarg, NULL, 10) * MS; break;
		case 'm': read_mix(optarg); break;
		case 'c': most = strtoul(optarg, NULL, 10); break;
		default: return 2;
		}
	char *colon = strrchr(host, ':'), address[64];
	assert(colon && nnodes && nnodes <= NODES_MAX);
	snprintf(address, sizeof(address), "%.*s", (int)(colon - host), host);
	router = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1)) };
	assert(inet_pton(AF_INET, address, &router.sin_addr) == 1);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	poller = epoll_create1(EPOLL_CLOEXEC);
	for (size_t i = 0; i < nnodes; i++)
		listen_node(&nodes[i]);

	static struct phase warm;
	uint64_t patience = patience_ns;
	phase = &warm;
	patience_ns = 60 * SECOND; /* every room is to be there */
	set_up();
	patience_ns = patience;
	phase = &peak;
	run_closed(peak_s);
	beat_worst_ns = 0;
	open_all();
	phase = &over;
	double behind = run_open(times * (double)total_of(&peak, GOOD) / peak.seconds, over_s);
	printf("{");
	print_phase("peak", &peak);
	printf(",");
	print_phase("over", &over);
	printf(",\"behind_ms\":%.1f,\"skipped\":%llu,\"connections\":%zu,\"heartbeats\":{\"sent\":%llu,\"good\":%llu,\"refused\":%llu,\"other\":%llu,"
	       "\"worst_ms\":%.1f}}\n", behind, (unsigned long long)skipped, nconns, (unsigned long long)beats_sent, (unsigned long long)beats_good,
	       (unsigned long long)beats_refused, (unsigned long long)beats_other, (double)beat_worst_ns / 1e6);
	return 0;
}
