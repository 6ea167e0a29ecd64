/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accepting is bounded per turn, so that a flood of connections does not starve the loop's other work. One descriptor is kept
 * to spare: when there is no other, it accepts whoever comes to say that there is no room, so that nobody waits in the kernel's
 * queue for an answer that does not come, and the queue is empty when there is room again. Without even that one the listeners
 * pause instead of spinning on an accept that cannot succeed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <arpa/inet.h>

#include "base/listen.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/networks.h"
#include "base/str.h"
#include "base/wait.h"

#define ACCEPTS_PER_TURN 64
#define PAUSE_MS 100      /* without descriptors */
#define SHED_SAID_MS 1000 /* logged at most so often */
#define BUCKETS 4096      /* of addresses with connections */

static const char full[] =
	"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";

/* A fatal alert, internal_error (RFC 8446, 6): a handshake for it would cost what there is no room for. */
static const char full_tls[] = "\x15\x03\x01\0\2\2\x50";

struct origin { /* an address that has connections */
	struct origin *next;
	unsigned char key[LISTEN_ORIGIN_BYTES];
	uint64_t count;
};
struct listener {
	struct listener *next;
	struct listen_set *set;
	struct watch *watch;
	int fd, tag;
	bool adopted; /* the activator's, which goes on listening */
	char address[80];
};
struct listen_set {
	struct loop *loop;
	struct listen_conf conf;
	struct listener *listeners;
	struct timer pause;
	int spare; /* -1: it is needed elsewhere */
	uint64_t shed_said_ms;
	struct networks *proxies;
	uint64_t count;
	struct origin *origins[BUCKETS];
};

/* -- counts -------------------------------------------------------------------------------------------------------- */
/* IPv4 whole, also where a socket for both families dresses it as IPv6; of IPv6 the /64 that one site has. */
void listen_origin(const struct sockaddr_storage *peer, unsigned char key[static LISTEN_ORIGIN_BYTES])
{
	const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;

	memset(key, 0, LISTEN_ORIGIN_BYTES);
	if (peer->ss_family == AF_INET) {
		key[0] = 4;
		memcpy(key + 1, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
	} else if (peer->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(v6)) {
		key[0] = 4;
		memcpy(key + 1, v6->s6_addr + 12, 4);
	} else if (peer->ss_family == AF_INET6) {
		key[0] = 6;
		memcpy(key + 1, v6, 8);
	}
}

static struct origin **origin_place(struct listen_set *set, const unsigned char key[LISTEN_ORIGIN_BYTES])
{
	struct origin **at = &set->origins[fnv1a(FNV_BEGIN, (struct str){ (const char *)key, LISTEN_ORIGIN_BYTES }) % BUCKETS];

	while (*at && memcmp((*at)->key, key, LISTEN_ORIGIN_BYTES))
		at = &(*at)->next;
	return at;
}

static bool add_to(struct listen_set *set, struct origin **at, const unsigned char key[LISTEN_ORIGIN_BYTES])
{
	if (!*at) {
		*at = calloc(1, sizeof(**at));
		if (!*at)
			return false;
		memcpy((*at)->key, key, LISTEN_ORIGIN_BYTES);
	}
	(*at)->count++;
	set->count++;
	return true;
}

static bool is_proxy(const struct listen_set *set, const struct sockaddr_storage *peer)
{
	return networks_contain(set->proxies, peer);
}

static bool admit(struct listen_set *set, const struct sockaddr_storage *peer, bool inner)
{
	unsigned char key[LISTEN_ORIGIN_BYTES];

	listen_origin(peer, key);
	struct origin **at = origin_place(set, key);
	if (set->count + (inner ? 0 : set->conf.reserved) >= set->conf.connections)
		return false;
	if (*at && (*at)->count >= set->conf.connections_per_address && !is_proxy(set, peer))
		return false;
	return add_to(set, at, key);
}

void listen_released(struct listen_set *set, const struct sockaddr_storage *peer)
{
	unsigned char key[LISTEN_ORIGIN_BYTES];

	listen_origin(peer, key);
	struct origin **at = origin_place(set, key), *origin = *at;
	if (!origin)
		return;
	set->count--;
	if (--origin->count)
		return;
	*at = origin->next;
	free(origin);
}

/* -- accepting ----------------------------------------------------------------------------------------------------- */
static void keep_spare(struct listen_set *set)
{
	if (set->spare < 0)
		set->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void resume(struct timer *t)
{
	struct listen_set *set = container_of(t, struct listen_set, pause);

	keep_spare(set);
	for (struct listener *l = set->listeners; l; l = l->next)
		watch_set(l->watch, LOOP_READ);
}

static void pause_all(struct listen_set *set, int err)
{
	log_warn("accept_paused", "why", LOG_S(strerror(err)));
	for (struct listener *l = set->listeners; l; l = l->next)
		watch_set(l->watch, 0);
	timer_set(set->loop, &set->pause, PAUSE_MS, resume);
}

/* What it has asked is read first: with bytes unread the close would be a reset, and the answer lost. */
static void refuse(const struct listen_set *set, int fd)
{
	struct str say = set->conf.tls ? STR(full_tls) : STR(full);
	char asked[16384];

	(void)!recv(fd, asked, sizeof(asked), MSG_DONTWAIT);
	(void)!send(fd, say.at, say.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void say_shed(struct listen_set *set)
{
	uint64_t now_ms = loop_now_ms(set->loop);

	if (!set->shed_said_ms || now_ms >= set->shed_said_ms + SHED_SAID_MS) {
		log_warn("accept_sheds", "why", LOG_S("out of descriptors: whoever comes is told 503"));
		set->shed_said_ms = now_ms;
	}
}

static void send_at_once(int fd)
{
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
}

/* 0, or what accept says even so: EAGAIN where nobody was queued (without descriptors it says so only now). */
static int shed_one(struct listener *l)
{
	struct listen_set *set = l->set;

	if (set->spare < 0)
		return EMFILE;
	close(set->spare);
	set->spare = -1;
	int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), err = fd < 0 ? errno : 0;
	if (fd >= 0)
		refuse(set, fd);
	keep_spare(set);
	if (fd >= 0)
		say_shed(set);
	return err;
}

/* False: nothing is queued (any more), or nothing can be accepted now. */
static bool accept_one(struct listener *l)
{
	struct accepted accepted = { .tag = l->tag, .peer_len = sizeof(accepted.peer) };

	struct sockaddr *peer = (struct sockaddr *)&accepted.peer;
	accepted.fd = accept4(l->fd, peer, &accepted.peer_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (accepted.fd < 0) {
		int err = errno;
		if (err == EMFILE || err == ENFILE)
			err = shed_one(l);
		if (!err)
			return true;
		if (err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM)
			pause_all(l->set, err);
		return err == ECONNABORTED || err == EINTR;
	}
	const struct listen_conf *conf = &l->set->conf;
	if (!admit(l->set, &accepted.peer, conf->inner && conf->inner(conf->arg, l->tag, &accepted.peer))) {
		refuse(l->set, accepted.fd);
		return true;
	}
	if (l->adopted) /* who came before it was ours has inherited nothing */
		send_at_once(accepted.fd);
	conf->deal(conf->arg, &accepted);
	return true;
}

static void readable(void *arg, int events)
{
	(void)events;
	for (int n = 0; n < ACCEPTS_PER_TURN && accept_one(arg); n++)
		;
}

/* -- opening ------------------------------------------------------------------------------------------------------- */
static bool split(const char *address, char host[64], char port[8])
{
	const char *colon = strrchr(address, ':');
	size_t len = colon ? (size_t)(colon - address) : 0;
	bool bracketed = len > 1 && address[0] == '[' && address[len - 1] == ']';

	snprintf(port, 8, "%s", colon ? colon + 1 : address);
	if (len >= 64 || strlen(colon ? colon + 1 : address) > 5)
		return false;
	if (!*port || strspn(port, "0123456789") != strlen(port))
		return false;
	if (bracketed)
		address++, len -= 2;
	snprintf(host, 64, "%.*s", (int)len, address);
	return true;
}

static int numeric_address(const char *address, struct sockaddr_storage *out, socklen_t *len)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM };
	struct addrinfo *found;
	char host[64], port[8];

	if (!split(address, host, port) || strtol(port, NULL, 10) > 65535)
		return -1;
	if (!strcmp(host, "localhost"))
		strcpy(host, "127.0.0.1");
	if (getaddrinfo(*host ? host : NULL, port, &hints, &found))
		return -1;
	memcpy(out, found->ai_addr, found->ai_addrlen);
	*len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

bool listen_is_loopback(const char *address)
{
	struct sockaddr_storage at;
	socklen_t len;

	if (numeric_address(address, &at, &len) < 0)
		return false;
	if (at.ss_family == AF_INET)
		return ntohl(((struct sockaddr_in *)(void *)&at)->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)(void *)&at)->sin6_addr);
}

static void name_address(struct listener *l)
{
	struct sockaddr_storage at;
	socklen_t len = sizeof(at);
	char host[INET6_ADDRSTRLEN] = "", port[8] = "";

	if (getsockname(l->fd, (struct sockaddr *)&at, &len) < 0 ||
	    getnameinfo((struct sockaddr *)&at, len, host, sizeof(host), port, sizeof(port),
	                NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	snprintf(l->address, sizeof(l->address), at.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static struct listener *add_listener(struct listen_set *set, int fd, int tag)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->set = set;
	l->fd = fd;
	l->tag = tag;
	name_address(l);
	l->watch = watch_new(set->loop, fd, LOOP_READ, readable, l);
	if (!l->watch) {
		free(l);
		return NULL;
	}
	l->next = set->listeners;
	set->listeners = l;
	return l;
}

struct listener *listen_open(struct listen_set *set, const char *address, int tag, const char **why)
{
	struct sockaddr_storage at;
	socklen_t len;
	int on = 1;

	if (numeric_address(address, &at, &len) < 0) {
		*why = "not an address like 127.0.0.1:8080, [::1]:8080 or 8080";
		return NULL;
	}
	int fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		send_at_once(fd); /* whoever is accepted inherits it */
	}
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) < 0 || listen(fd, SOMAXCONN) < 0) {
		*why = strerror(errno);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	struct listener *l = add_listener(set, fd, tag);
	if (!l) {
		*why = "out of memory or descriptors";
		close(fd);
	}
	return l;
}

struct listener *listen_adopt(struct listen_set *set, int fd, int tag)
{
	/*
	 * As the activator made them: an accept on a blocking socket would stop the loop once a queued client gives up.
	 */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	struct listener *l = add_listener(set, fd, tag);
	if (l)
		l->adopted = true;
	return l;
}

const char *listen_address(const struct listener *l)
{
	return l->address;
}

struct listen_set *listen_set_new(struct loop *loop, const struct listen_conf *conf)
{
	struct listen_set *set = calloc(1, sizeof(*set));

	if (!set)
		abort();
	set->loop = loop;
	set->conf = *conf;
	set->proxies = networks_new(conf->proxies);
	set->spare = -1;
	keep_spare(set);
	return set;
}

/* The filter of a listening socket sees the TCP header. */
static void take_no_handshakes(int fd)
{
	static const struct sock_filter no_syn[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13), /* flags */
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_ACK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TH_SYN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog program = { sizeof(no_syn) / sizeof(*no_syn), (struct sock_filter *)(uintptr_t)no_syn };

	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)); /* without it: a race as everywhere */
}

void listen_quiet(struct listen_set *set)
{
	for (struct listener *l = set->listeners; l; l = l->next)
		if (!l->adopted)
			take_no_handshakes(l->fd);
}

void listen_close(struct listen_set *set)
{
	timer_clear(set->loop, &set->pause);
	while (set->listeners) {
		struct listener *l = set->listeners;
		while (accept_one(l))
			;
		timer_clear(set->loop, &set->pause); /* accept_one may have set it */
		watch_free(l->watch);
		close(l->fd);
		set->listeners = l->next;
		free(l);
	}
}

void listen_set_free(struct listen_set *set)
{
	listen_close(set);
	for (size_t i = 0; i < BUCKETS; i++)
		while (set->origins[i]) {
			struct origin *origin = set->origins[i];
			set->origins[i] = origin->next;
			free(origin);
		}
	if (set->spare >= 0)
		close(set->spare);
	networks_free(set->proxies);
	free(set);
}

int listen_systemd_fds(void)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	uint64_t p = 0, n = 0;

	if (!parse_u64(str_of(pid), &p) || !parse_u64(str_of(count), &n) || p != (uint64_t)getpid() || n > 16)
		n = 0;
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return (int)n;
}

/* The usual soft limit of 1024 is a leftover for select(), which nothing here uses. */
uint64_t listen_raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 0;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_max;
}
