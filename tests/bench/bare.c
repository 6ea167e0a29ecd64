/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: libmicrohttpd answering the same body as usher's route, and nothing else. It prints its port. Argument: `loop`, on
 * libuv's loop, as usher has it; `thread`, on a thread of its own, which spares the loop's turns; `headers`, on the loop, with an
 * answer made for each request that has the headers of usher's.
 */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

static const char body[] = "{\"room\":\"known\",\"node\":\"sfu-1\",\"epoch\":1795328740704,\"signal_url\":\"ws://127.0.0.1:40000/signal\"}";
static struct MHD_Response *response; /* NULL: one for each request */

static struct MHD_Response *plain(void)
{
	struct MHD_Response *made = MHD_create_response_from_buffer(strlen(body), (void *)body, MHD_RESPMEM_PERSISTENT);

	MHD_add_response_header(made, "Content-Type", "application/json");
	return made;
}

static struct MHD_Response *with_headers(void)
{
	struct MHD_Response *made = plain();

	MHD_add_response_header(made, "X-Usher-Node", "sfu-1");
	MHD_add_response_header(made, "X-Usher-Epoch", "1795328740704");
	MHD_add_response_header(made, "X-Usher-Signal-Url", "ws://127.0.0.1:40000/signal");
	MHD_add_response_header(made, "X-Request-Id", "037eaecde846e74c");
	MHD_add_response_header(made, "Cache-Control", "no-store");
	return made;
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version,
                              const char *data, size_t *size, void **state)
{
	static int seen;

	(void)cls, (void)url, (void)method, (void)version, (void)data, (void)size;
	if (!*state) { /* answering the first call would cost the connection */
		*state = &seen;
		return MHD_YES;
	}
	if (response)
		return MHD_queue_response(c, 200, response);
	struct MHD_Response *own = with_headers();
	enum MHD_Result result = MHD_queue_response(c, 200, own);
	MHD_destroy_response(own);
	return result;
}

static void run(uv_poll_t *poll, int status, int events)
{
	MHD_UNSIGNED_LONG_LONG timeout;

	(void)status, (void)events;
	do
		MHD_run(poll->data);
	while (MHD_get_timeout(poll->data, &timeout) == MHD_YES && !timeout);
}

static void on_loop(struct MHD_Daemon *d)
{
	uv_poll_t poll = { .data = d };

	uv_poll_init(uv_default_loop(), &poll, MHD_get_daemon_info(d, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
	uv_poll_start(&poll, UV_READABLE, run);
	uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const char *how = argc > 1 ? argv[1] : "loop";
	unsigned own_thread = strcmp(how, "thread") ? 0 : MHD_USE_INTERNAL_POLLING_THREAD;
	struct MHD_Daemon *d = MHD_start_daemon(MHD_USE_EPOLL | own_thread, 0, NULL, NULL, handle, NULL, MHD_OPTION_SOCK_ADDR, &at,
	                                        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)8192, MHD_OPTION_END);

	if (!d)
		return 1;
	response = strcmp(how, "headers") ? plain() : NULL;
	printf("%u\n", (unsigned)MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT)->port);
	fflush(stdout);
	if (!own_thread)
		on_loop(d);
	for (;;)
		pause();
}
