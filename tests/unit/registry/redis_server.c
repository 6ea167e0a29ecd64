/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server takes a port below those that the kernel gives to who asks for any; a socket that never listens keeps it for us
 * until the test's process ends. The server dies with the test (PR_SET_PDEATHSIG), whatever becomes of the test.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/registry/redis_server.h"

#define WORDS_MAX 40
#define START_S 10
#define PORT_FIRST 10000
#define PORTS 6000

/* A server, which sets SO_REUSEADDR, may listen beside the socket that is kept; another that looks for a free port may not. */
static bool port_keep(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&at, sizeof at) == 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)); /* not before: the bind had to be alone */
		return true;
	}
	close(fd);
	return false;
}

uint16_t redis_server_free_port(void)
{
	static unsigned asked;
	uint16_t port;

	do
		port = (uint16_t)(PORT_FIRST + ((unsigned)getpid() * 7 + asked++) % PORTS);
	while (!port_keep(port));
	return port;
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port) };
	struct timeval limit = { .tv_sec = 5 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
		return fd;
	close(fd);
	return -1;
}

static const char *const *extra_words;

static void server_exec(uint16_t port)
{
	char port_text[8];
	char *named = getenv("USHER_TEST_REDIS");
	char *words[WORDS_MAX] = { named ? named : "redis-server", "--port", port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly",
		                   "no", "--dir", "/tmp", "--dbfilename", "usher-test-none.rdb", "--loglevel", "warning",
		                   "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0",
		                   "--repl-diskless-load", "swapdb" };
	size_t n = 21;

	snprintf(port_text, sizeof port_text, "%u", port);
	for (size_t i = 0; extra_words && extra_words[i] && n < WORDS_MAX - 1; i++)
		words[n++] = (char *)extra_words[i];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(open("/dev/null", O_RDWR), 1);
	dup2(1, 0);
	execvp(words[0], words);
	_exit(127);
}

/* The second client has an answer to its PING: then the server serves. */
static bool server_serves(struct redis_server *s)
{
	const char *answer;

	s->client = connect_to(s->port);
	if (s->client < 0)
		return false;
	answer = redis_server_ask(s, "PING");
	if (strcmp(answer, "+PONG") == 0 || strncmp(answer, "-NOAUTH", 7) == 0)
		return true;
	close(s->client);
	s->client = -1;
	return false;
}

static bool server_run(struct redis_server *s)
{
	time_t end = time(NULL) + START_S;

	s->client = -1;
	s->pid = fork();
	if (s->pid == 0)
		server_exec(s->port);
	while (time(NULL) < end) {
		if (server_serves(s))
			return true;
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
			return false;
		sched_yield();
	}
	return false;
}

void redis_server_start(struct redis_server *s, const char *const *extra)
{
	extra_words = extra;
	s->port = redis_server_free_port();
	if (server_run(s))
		return;
	fprintf(stderr, "redis-server could not be started\n");
	abort();
}

void redis_server_stop(struct redis_server *s)
{
	if (s->client >= 0)
		close(s->client);
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
}

void redis_server_restart(struct redis_server *s)
{
	redis_server_stop(s);
	if (!server_run(s))
		abort();
}

void redis_server_signal(struct redis_server *s, int signum)
{
	kill(s->pid, signum);
}

static void line_read(int fd, char *to, size_t size)
{
	size_t len = 0;
	char c;

	while (len < size - 1 && recv(fd, &c, 1, 0) == 1 && c != '\n')
		to[len++] = c;
	if (len && to[len - 1] == '\r')
		len--;
	to[len] = '\0';
}

const char *redis_server_ask(struct redis_server *s, const char *fmt, ...)
{
	static char answer[4096];
	char command[1024];
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(command, sizeof command - 2, fmt, args);
	va_end(args);
	assert(len > 0 && (size_t)len < sizeof command - 2);
	memcpy(command + len, "\r\n", 2);
	if (send(s->client, command, (size_t)len + 2, MSG_NOSIGNAL) != len + 2)
		return "";
	line_read(s->client, answer, sizeof answer);
	if (answer[0] == '$' && answer[1] != '-')
		line_read(s->client, answer, sizeof answer);
	return answer;
}
