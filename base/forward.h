/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forwarding one exchange to one URL, streamed both ways with a fixed buffer each way (FORWARD_BUFFER): a slow reader
 * on one side stops the other (back-pressure). Used by the router's proxy and by the agent's gate. Part of the adapter
 * of libcurl (forward.c and http.c share base/http_curl.h).
 *
 * Headers cross by allow-list, both ways; hop-by-hop headers never (RFC 9110, 7.6.1). The request is sent at most once.
 */
#pragma once

#include "base/http.h"

#define FORWARD_BUFFER 65536

struct forward_to {
	const char *url; /* complete, with path and query, as it is to be sent (path as is) */
	uint64_t connect_timeout_ms, response_timeout_ms, stream_idle_ms;
	struct header headers[HTTP_HEADERS_MAX]; /* added, replacing the client's of that name */
	size_t nheaders;
	bool (*pass)(struct str name); /* which of the client's headers pass; NULL: the standard list */
};
struct forward_head {
	enum http_outcome outcome; /* HTTP_ANSWERED: status and headers are known and nothing was sent to the client yet */
	int status;
	uint64_t retry_after_ms;
	const struct header *headers; /* of the answer; valid during the call */
	size_t nheaders;
};
enum forward_verdict {
	FORWARD_PASS,   /* answer the client with it */
	FORWARD_DISCARD /* drop it; the caller answers the exchange itself */
};
struct forward;
struct forward_ops {
	/* Once. Unless HTTP_ANSWERED, the verdict is taken as DISCARD: the caller answers. */
	enum forward_verdict (*head)(void *arg, const struct forward_head *);
	/* Once, last, unless forward_cancel() was called: the transfer is over. */
	void (*end)(void *arg, enum http_outcome);
};
/* Call in `begin` of the exchange (streams its body), or later when it has no body or it was collected. The exchange's
 * `end` op must call forward_cancel() if forward's end has not come. NULL: could not be started. */
struct forward *forward_start(struct http *, struct exchange *, const struct forward_to *, const struct forward_ops *, void *arg);
void forward_cancel(struct forward *);
/* The standard allow-list for request headers of participants. */
bool forward_standard_header(struct str name);
/* … without what shows who asks: a node could ask as that one. */
bool forward_nameless_header(struct str name);
/* What of the exchange's headers crosses with a WebSocket handshake: Sec-WebSocket-* beside what `pass` lets. Appended to
 * `out`, which has room for HTTP_HEADERS_MAX; one that is in there stays as it is. False: there are more. */
bool forward_handshake_whole(const struct exchange *); /* one key and one version, exactly */
bool forward_handshake_headers(const struct exchange *, bool (*pass)(struct str name), struct header *out, size_t *n);
