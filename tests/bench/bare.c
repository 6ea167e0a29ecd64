/* SPDX-License-Identifier: Apache-2.0 */
/* The floor: libmicrohttpd answering the same bytes as usher's route, and nothing else. Prints its port. */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char body[] = "{\"room\":\"known\",\"node\":\"sfu-1\",\"epoch\":1795328740704,\"signal_url\":\"ws://127.0.0.1:40000/signal\"}";
static struct MHD_Response *response;

static enum MHD_Result handle(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version,
                              const char *data, size_t *size, void **state)
{
	static int seen;

	(void)cls, (void)url, (void)method, (void)version, (void)data, (void)size;
	if (!*state) { /* answering the first call would cost the connection */
		*state = &seen;
		return MHD_YES;
	}
	return MHD_queue_response(c, 200, response);
}

int main(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct MHD_Daemon *d = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, handle, NULL,
	                                        MHD_OPTION_SOCK_ADDR, &at, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)8192, MHD_OPTION_END);

	if (!d)
		return 1;
	response = MHD_create_response_from_buffer(strlen(body), (void *)body, MHD_RESPMEM_PERSISTENT);
	MHD_add_response_header(response, "Content-Type", "application/json");
	printf("%u\n", (unsigned)MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT)->port);
	fflush(stdout);
	for (;;)
		pause();
}
