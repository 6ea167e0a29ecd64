/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A floor of a room that is not in the table: libmicrohttpd and hiredis on one epoll set, one GET a request, the connection suspended
 * meanwhile; the answer is that of peers/nginx.conf. No table, no tracking, nothing checked, and one word of Redis where usher reads a
 * record. Argument: Redis's port. Prints its own.
 */
#include <arpa/inet.h>
#include <hiredis/async.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

struct asked {
	struct MHD_Connection *connection;
	char room[64], node[64];
	bool sent, told;
};
static redisAsyncContext *redis;
static bool unwritten;

static void told(redisAsyncContext *context, void *reply, void *arg)
{
	const redisReply *r = reply;
	struct asked *asked = arg;

	(void)context;
	if (!r || r->type != REDIS_REPLY_STRING)
		exit(1);
	snprintf(asked->node, sizeof(asked->node), "%s", r->str);
	asked->told = true;
	MHD_resume_connection(asked->connection);
}

static enum MHD_Result answer(const struct asked *asked)
{
	char body[256];
	int n = snprintf(body, sizeof(body), "{\"room\":\"%s\",\"node\":\"%s\",\"signal_url\":\"ws://%s:8188/\"}", asked->room, asked->node, asked->node);
	struct MHD_Response *response = MHD_create_response_from_buffer((size_t)n, body, MHD_RESPMEM_MUST_COPY);
	MHD_add_response_header(response, "Content-Type", "application/json");
	enum MHD_Result result = MHD_queue_response(asked->connection, 200, response);

	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version,
                              const char *data, size_t *size, void **state)
{
	struct asked *asked = *state;

	(void)cls, (void)method, (void)version, (void)data, (void)size;
	if (!asked) { /* answering the first call would cost the connection */
		*state = asked = calloc(1, sizeof(*asked));
		asked->connection = c;
		return sscanf(url, "/v1/rooms/%63[^/]/route", asked->room) == 1 ? MHD_YES : MHD_NO;
	}
	if (asked->told)
		return answer(asked);
	if (!asked->sent) {
		asked->sent = true;
		redisAsyncCommand(redis, told, asked, "GET room:%s", asked->room);
		MHD_suspend_connection(c);
	}
	return MHD_YES;
}

static void ended(void *cls, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode code)
{
	(void)cls, (void)c, (void)code;
	free(*state);
	*state = NULL;
}

static void left(const redisAsyncContext *context, int status)
{
	(void)context, (void)status;
	exit(1);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void will_write(void *arg)
{
	(void)arg;
	unwritten = true;
}

static void connect_redis(int port, int set)
{
	struct epoll_event event = { .events = EPOLLIN };

	redis = redisAsyncConnect("127.0.0.1", port);
	if (!redis || redis->err)
		exit(1);
	redisAsyncSetDisconnectCallback(redis, left);
	redis->ev.addRead = redis->ev.delRead = redis->ev.delWrite = redis->ev.cleanup = nothing;
	redis->ev.addWrite = will_write;
	event.data.fd = redis->c.fd;
	if (epoll_ctl(set, EPOLL_CTL_ADD, redis->c.fd, &event))
		exit(1);
}

static int until_ms(struct MHD_Daemon *d)
{
	MHD_UNSIGNED_LONG_LONG ms;

	return MHD_get_timeout(d, &ms) == MHD_YES ? (int)ms : -1;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct MHD_Daemon *d = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle, NULL, MHD_OPTION_SOCK_ADDR, &at,
	                                        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)8192, MHD_OPTION_NOTIFY_COMPLETED, ended, NULL,
	                                        MHD_OPTION_END);
	int set = epoll_create1(0);
	struct epoll_event event = { .events = EPOLLIN }, events[2];

	if (!d || argc != 2)
		return 1;
	event.data.fd = MHD_get_daemon_info(d, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	epoll_ctl(set, EPOLL_CTL_ADD, event.data.fd, &event);
	connect_redis(atoi(argv[1]), set);
	redisAsyncHandleWrite(redis);
	printf("%u\n", (unsigned)MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT)->port);
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(set, events, 2, unwritten ? 0 : until_ms(d));
		for (int i = 0; i < n; i++)
			if (events[i].data.fd == redis->c.fd)
				redisAsyncHandleRead(redis);
		MHD_run(d);
		if (unwritten) {
			unwritten = false;
			redisAsyncHandleWrite(redis);
		}
	}
}
