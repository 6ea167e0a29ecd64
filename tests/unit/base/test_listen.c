/* SPDX-License-Identifier: Apache-2.0 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include "base/listen.h"
#include "peer.h"

#define MAX 64

static struct loop *loop;
static struct listen_set *set;
static struct accepted dealt[MAX];
static size_t ndealt;
static int clients[MAX];
static size_t nclients;
static const char *why;

static void deal(void *arg, const struct accepted *accepted)
{
	ck_assert_ptr_eq(arg, &dealt);
	dealt[ndealt++] = *accepted;
}

static void start(uint64_t connections, uint64_t each)
{
	struct listen_conf conf = { .connections = connections, .connections_per_address = each, .deal = deal, .arg = &dealt };

	set = listen_set_new(loop, &conf);
	ck_assert_ptr_nonnull(set);
}

static void setup(void)
{
	loop = loop_new();
	ndealt = nclients = 0;
	why = NULL;
}

static void teardown(void)
{
	listen_set_free(set);
	for (size_t i = 0; i < ndealt; i++)
		close(dealt[i].fd);
	for (size_t i = 0; i < nclients; i++)
		close(clients[i]);
	loop_free(loop);
}

static uint16_t port_of(const struct listener *l)
{
	return (uint16_t)atoi(strrchr(listen_address(l), ':') + 1);
}

/* Does not wait: the kernel queues it. From any address of 127.0.0.0/8. */
static int client_from(const char *from, uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET }, to = at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, from, &at.sin_addr);
	inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
	to.sin_port = htons(port);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return clients[nclients++] = fd;
}

static bool at_once(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len) == 0 && on;
}

static void expect_refusal(int fd)
{
	char text[200] = "";
	size_t len = 0;
	ssize_t n;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	UNTIL(loop, (n = recv(fd, text + len, sizeof(text) - 1 - len, 0)) == 0 || (n > 0 && (len += (size_t)n) == 0));
	ck_assert_msg(!strncmp(text, "HTTP/1.1 503 ", 13), "%s", text);
}

/* -- addresses ----------------------------------------------------------------------------------------------------------- */
static const struct {
	const char *address;
	bool good, loopback;
} addresses[] = {
	{ "127.0.0.1:0", true, true },  { "127.9.9.9:0", true, true },    { "[::1]:0", true, true },
	{ "localhost:0", true, true },  { "0.0.0.0:0", true, false },     { "0", true, false },
	{ ":0", true, false },          { "[::]:0", true, false },        { "", false, false },
	{ "127.0.0.1", false, false },  { "127.0.0.1:", false, false },   { "127.0.0.1:x", false, false },
	{ "127.0.0.1:65536", false, false }, { "127.0.0.1:99999999999", false, false }, { "example.com:80", false, false },
	{ "[::1:80", false, false },    { "127.0.0.1:-1", false, false }, { "unix:/tmp/x", false, false },
};

START_TEST(addresses_are_read)
{
	start(10, 10);
	struct listener *l = listen_open(set, addresses[_i].address, 1, &why);
	ck_assert_msg(!!l == addresses[_i].good, "%s: %s", addresses[_i].address, why);
	ck_assert_int_eq(!!why, !addresses[_i].good);
	ck_assert_int_eq(listen_is_loopback(addresses[_i].address), addresses[_i].loopback);
	if (l)
		ck_assert_uint_gt(port_of(l), 0);
}
END_TEST

START_TEST(taken_addresses_tell_why)
{
	start(10, 10);
	struct listener *l = listen_open(set, "127.0.0.1:0", 1, &why);
	ck_assert_ptr_null(listen_open(set, listen_address(l), 1, &why));
	ck_assert_str_eq(why, "Address already in use");
}
END_TEST

/* -- accepting ------------------------------------------------------------------------------------------------------------ */
START_TEST(accepted_sockets_are_ready_to_use)
{
	start(10, 10);
	struct listener *a = listen_open(set, "127.0.0.1:0", 1, &why), *b = listen_open(set, "127.0.0.1:0", 2, &why);
	client_from("127.0.0.1", port_of(a));
	UNTIL(loop, ndealt == 1);
	client_from("127.0.0.3", port_of(b));
	UNTIL(loop, ndealt == 2);
	ck_assert_int_eq(dealt[0].tag, 1);
	ck_assert_int_eq(dealt[1].tag, 2);
	ck_assert_int_ne(fcntl(dealt[0].fd, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_ne(fcntl(dealt[0].fd, F_GETFD) & FD_CLOEXEC, 0);
	ck_assert(at_once(dealt[0].fd));
	struct sockaddr_in *peer = (void *)&dealt[1].peer;
	ck_assert_uint_eq(ntohl(peer->sin_addr.s_addr), 0x7f000003);
}
END_TEST

START_TEST(each_address_has_its_share)
{
	start(10, 2);
	struct listener *l = listen_open(set, "127.0.0.1:0", 1, &why);
	uint16_t port = port_of(l);

	client_from("127.0.0.2", port);
	client_from("127.0.0.2", port);
	UNTIL(loop, ndealt == 2);
	expect_refusal(client_from("127.0.0.2", port));
	client_from("127.0.0.3", port);
	UNTIL(loop, ndealt == 3);
	listen_released(set, &dealt[0].peer);
	client_from("127.0.0.2", port);
	UNTIL(loop, ndealt == 4);
	expect_refusal(client_from("127.0.0.2", port));
}
END_TEST

START_TEST(there_are_never_more_than_allowed)
{
	start(3, 3);
	struct listener *l = listen_open(set, "127.0.0.1:0", 1, &why);
	uint16_t port = port_of(l);

	client_from("127.0.0.2", port);
	client_from("127.0.0.3", port);
	client_from("127.0.0.4", port);
	UNTIL(loop, ndealt == 3);
	expect_refusal(client_from("127.0.0.5", port));
	listen_released(set, &dealt[1].peer);
	client_from("127.0.0.5", port);
	UNTIL(loop, ndealt == 4);
	for (size_t i = 0; i < 4; i++)
		if (i != 1)
			listen_released(set, &dealt[i].peer);
	listen_released(set, &dealt[0].peer); /* unknown by now: not counted below nothing */
	for (unsigned i = 0; i < 3; i++)
		client_from("127.0.0.6", port);
	UNTIL(loop, ndealt == 7);
}
END_TEST

/* IPv4 clients of a socket for both families are not one client. */
START_TEST(dressed_addresses_count_as_ipv4)
{
	start(10, 1);
	struct listener *l = listen_open(set, "[::]:0", 1, &why);
	uint16_t port = port_of(l);

	client_from("127.0.0.2", port);
	client_from("127.0.0.3", port);
	UNTIL(loop, ndealt == 2);
	ck_assert_int_eq(dealt[0].peer.ss_family, AF_INET6);
	expect_refusal(client_from("127.0.0.3", port));
	struct sockaddr_in plain = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002) };
	struct sockaddr_storage peer = { 0 };
	memcpy(&peer, &plain, sizeof(plain));
	listen_released(set, &peer);
	client_from("127.0.0.2", port);
	UNTIL(loop, ndealt == 3);
}
END_TEST

/* What the acceptor would see of two hosts of one site, and of another site. */
START_TEST(ipv6_counts_by_site)
{
	int pair[2];
	uint16_t port;

	start(10, 1);
	struct listener *l = listen_open(set, "[::1]:0", 1, &why);
	ck_assert_ptr_nonnull(l);
	port = port_of(l);
	for (int i = 0; i < 2; i++) {
		struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
		pair[i] = clients[nclients++] = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
		ck_assert_int_eq(connect(pair[i], (struct sockaddr *)&to, sizeof(to)), 0);
	}
	expect_refusal(pair[1]);
	ck_assert_uint_eq(ndealt, 1);
	struct sockaddr_storage neighbour = dealt[0].peer;
	((struct sockaddr_in6 *)(void *)&neighbour)->sin6_addr.s6_addr[15] = 77; /* same /64 */
	struct sockaddr_storage stranger = dealt[0].peer;
	((struct sockaddr_in6 *)(void *)&stranger)->sin6_addr.s6_addr[7] = 1;
	listen_released(set, &stranger);
	listen_released(set, &neighbour);
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = clients[nclients++] = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	UNTIL(loop, ndealt == 2);
}
END_TEST

START_TEST(closing_takes_what_is_queued)
{
	start(50, 50);
	struct listener *l = listen_open(set, "127.0.0.1:0", 1, &why);
	uint16_t port = port_of(l);

	for (unsigned i = 0; i < 20; i++)
		client_from("127.0.0.1", port);
	ck_assert_uint_eq(ndealt, 0);
	listen_close(set);
	ck_assert_uint_eq(ndealt, 20);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	ck_assert_int_lt(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	close(fd);
}
END_TEST

static int state_of(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_state;
}

/* Does not wait for the handshake; on loopback it is over by then, if it is taken. */
static int knock(uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	connect(fd, (struct sockaddr *)&to, sizeof(to));
	return clients[nclients++] = fd;
}

START_TEST(quiet_listeners_take_no_new_handshake)
{
	start(50, 50);
	uint16_t port = port_of(listen_open(set, "127.0.0.1:0", 1, &why));

	client_from("127.0.0.1", port);
	listen_quiet(set);
	ck_assert_int_eq(state_of(knock(port)), TCP_SYN_SENT);
	UNTIL(loop, ndealt == 1); /* who came before is served as ever */
	listen_close(set);
	ck_assert_uint_eq(ndealt, 1);
}
END_TEST

/* The client stays in the kernel's queue; nothing spins; it is served when there are descriptors again. */
START_TEST(without_descriptors_accepting_pauses)
{
	struct rlimit limit, none;

	start(10, 10);
	struct listener *l = listen_open(set, "127.0.0.1:0", 1, &why);
	client_from("127.0.0.1", port_of(l));
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ .rlim_cur = 3, .rlim_max = limit.rlim_max };
	loop_fake_clock(loop, 1000);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	loop_turn(loop);
	loop_turn(loop);
	struct pollfd p = { .fd = loop_backend_fd(loop), .events = POLLIN };
	int busy = poll(&p, 1, 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_le(busy, 0); /* nothing to wake up for: it does not spin */
	ck_assert_uint_eq(ndealt, 0);
	turns(loop, 5);
	ck_assert_uint_eq(ndealt, 0); /* paused */
	loop_fake_clock(loop, 1100);
	UNTIL(loop, ndealt == 1);
}
END_TEST

static ssize_t answer_to(int client, char *text, size_t size)
{
	struct pollfd p = { .fd = client, .events = POLLIN };

	ck_assert_int_eq(poll(&p, 1, 5000), 1);
	return recv(client, text, size, 0);
}

/* All but one descriptor are taken: whoever comes is answered at once, and served again when there are more. */
START_TEST(the_last_descriptor_tells_who_comes_that_there_is_no_room)
{
	struct rlimit limit, few;
	int taken[256];
	size_t ntaken = 0;
	char text[256] = "";

	start(10, 10);
	struct listener *l = listen_open(set, "127.0.0.1:0", 1, &why);
	int client = client_from("127.0.0.1", port_of(l));
	ck_assert_int_eq(send(client, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	few = (struct rlimit){ .rlim_cur = 200, .rlim_max = limit.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (ntaken < 256 && (taken[ntaken] = dup(0)) >= 0)
		ntaken++;
	ck_assert_uint_lt(ntaken, 256);
	for (int i = 0; i < 3; i++)
		loop_turn(loop);
	for (size_t i = 0; i < ntaken; i++)
		close(taken[i]);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_gt(answer_to(client, text, sizeof(text) - 1), 0);
	ck_assert_ptr_nonnull(strstr(text, "HTTP/1.1 503 "));
	ck_assert_ptr_nonnull(strstr(text, "Retry-After"));
	ck_assert_uint_eq(ndealt, 0);
	client_from("127.0.0.1", port_of(l));
	UNTIL(loop, ndealt == 1); /* not paused */
}
END_TEST

/* -- sockets of systemd ------------------------------------------------------------------------------------------------------ */
START_TEST(adopted_sockets_do_not_block)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	start(10, 10);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	socklen_t len = sizeof(at);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	client_from("127.0.0.1", ntohs(at.sin_port)); /* whom the activator started us for */
	struct listener *l = listen_adopt(set, fd, 9);
	UNTIL(loop, ndealt == 1);
	ck_assert_int_eq(dealt[0].tag, 9);
	ck_assert(at_once(dealt[0].fd));
	ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	listen_quiet(set); /* the activator's goes on */
	ck_assert_int_eq(state_of(knock(port_of(l))), TCP_ESTABLISHED);
	listen_close(set); /* would hang on a blocking accept */
}
END_TEST

static const struct {
	bool ours;
	const char *fds;
	int count;
} activations[] = { { true, "2", 2 }, { false, "2", 0 }, { true, "x", 0 }, { true, "-1", 0 }, { true, "9999", 0 }, { true, NULL, 0 } };

START_TEST(activation_is_for_this_process)
{
	char pid[16];

	start(1, 1);
	snprintf(pid, sizeof(pid), "%d", activations[_i].ours ? getpid() : getppid());
	setenv("LISTEN_PID", pid, 1);
	unsetenv("LISTEN_FDS");
	if (activations[_i].fds)
		setenv("LISTEN_FDS", activations[_i].fds, 1);
	ck_assert_int_eq(listen_systemd_fds(), activations[_i].count);
	ck_assert_ptr_null(getenv("LISTEN_PID"));
	ck_assert_ptr_null(getenv("LISTEN_FDS"));
	ck_assert_int_eq(listen_systemd_fds(), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("listen");
	TCase *t = tcase_create("listen");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, addresses_are_read, 0, (int)(sizeof(addresses) / sizeof(*addresses)));
	tcase_add_test(t, taken_addresses_tell_why);
	tcase_add_test(t, accepted_sockets_are_ready_to_use);
	tcase_add_test(t, each_address_has_its_share);
	tcase_add_test(t, there_are_never_more_than_allowed);
	tcase_add_test(t, dressed_addresses_count_as_ipv4);
	tcase_add_test(t, ipv6_counts_by_site);
	tcase_add_test(t, closing_takes_what_is_queued);
	tcase_add_test(t, quiet_listeners_take_no_new_handshake);
	tcase_add_test(t, without_descriptors_accepting_pauses);
	tcase_add_test(t, the_last_descriptor_tells_who_comes_that_there_is_no_room);
	tcase_add_test(t, adopted_sockets_do_not_block);
	tcase_add_loop_test(t, activation_is_for_this_process, 0, (int)(sizeof(activations) / sizeof(*activations)));
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
