/* SPDX-License-Identifier: Apache-2.0 */
/* Names on libuv's helper threads. An asker that left meanwhile is not waited for: the answer finds nobody. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/loop_uv.h"
#include "base/wait.h"

struct lookup {
	uv_getaddrinfo_t request;
	struct op op;
	struct addresses *out;
};

static void take_answers(const struct addrinfo *answers, struct addresses *out)
{
	out->count = 0;
	for (const struct addrinfo *a = answers; a && out->count < LOOP_ADDRESSES_MAX; a = a->ai_next) {
		if (a->ai_addrlen > sizeof(out->at[0]))
			continue;
		memcpy(&out->at[out->count], a->ai_addr, a->ai_addrlen);
		out->len[out->count++] = a->ai_addrlen;
	}
}

static void looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *answers)
{
	struct lookup *lookup = container_of(request, struct lookup, request);
	struct addresses *out = lookup->out;
	struct wait *waiter = op_detach(&lookup->op);

	if (waiter && status == 0)
		take_answers(answers, out);
	uv_freeaddrinfo(answers);
	free(lookup);
	wait_wake(waiter, status == 0 ? 0 : -ERR_NODE_UNAVAILABLE);
}

static bool numeric(const char *host, uint16_t port, struct addresses *out)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
		memcpy(&out->at[0], &v4, sizeof(v4));
		out->len[0] = sizeof(v4);
	} else if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
		memcpy(&out->at[0], &v6, sizeof(v6));
		out->len[0] = sizeof(v6);
	} else {
		return false;
	}
	out->count = 1;
	return true;
}

int loop_resolve(struct loop *loop, const char *host, uint16_t port, struct addresses *out, struct wait *w)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	char service[8];

	if (numeric(host, port, out))
		return NEXT;
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	if (!lookup)
		abort();
	lookup->out = out;
	snprintf(service, sizeof(service), "%u", port);
	if (uv_getaddrinfo(&loop->uv, &lookup->request, looked_up, host, service, &hints) < 0) {
		free(lookup);
		return -ERR_NODE_UNAVAILABLE;
	}
	op_attach(&lookup->op, w);
	return WAIT;
}
