/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of a head, for those in base/ that read one: of answers http.c, forward.c, tunnel_answer.c; of requests httpd_check.c. */
#pragma once

#include "base/httpd.h"

int status_line(const char *line, size_t len); /* 0: it is none of HTTP/1.1 or 1.0. The minor version is line[7] */
bool line_ends(const char *line, size_t len);  /* in CR LF */
/* Parses "Name: value\r\n". False for the blank line and what is no header (RFC 9110, 5). */
bool header_line(const char *line, size_t len, struct header *out);
bool is_token(struct str); /* RFC 9110, 5.6.2: what a header's name may be */
bool header_names(struct str list, struct str word); /* a comma-separated list holds the word, in any case */
uint64_t retry_after_ms(struct str value);           /* seconds or a date; at most an hour. In http.c, for its dates */
