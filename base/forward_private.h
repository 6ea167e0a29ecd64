/* SPDX-License-Identifier: Apache-2.0 */
/* Private to forward.c (the streams) and forward_headers.c (what crosses). */
#pragma once

#include "base/forward.h"
#include "base/http_curl.h"

bool forward_hop_header(struct str name); /* never crosses, whatever the caller's list says */
void forward_request_headers(struct transfer *, const struct exchange *, const struct forward_to *);

#define HEAD_LINES 64
#define HEAD_BYTES 16384
#define INTERIMS_MAX 16
#define CROSSING_MAX 32 /* lines that cross: with ours the server takes them all */
struct answer_head { /* of the answer, as it comes in; what is 0 at first stands first */
	size_t n, used;
	int status;     /* 0: not known */
	bool http10;
	unsigned interims; /* 1xx before it */
	bool complete;  /* and final: not 1xx */
	int64_t length; /* -1: not said */
	struct header headers[HEAD_LINES];
	char bytes[HEAD_BYTES];
};
void forward_answer_headers(struct exchange *, const struct answer_head *);
/* Takes one line; false: not an answer that may be passed on. */
bool answer_head_line(struct answer_head *, const char *line, size_t len);
