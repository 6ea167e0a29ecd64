/* SPDX-License-Identifier: Apache-2.0 */
/* The URLs usher is given: ws, wss, http, https with host, port, path. Views into the given text. */
#pragma once

#include <sys/socket.h>

#include "base/str.h"

struct url {
	bool websocket; /* ws or wss */
	bool tls;       /* wss or https */
	struct str host;      /* without brackets */
	uint16_t port;        /* explicit or the scheme's default */
	struct str authority; /* as written, for Host */
	struct str path;      /* "" or from '/', without query */
	struct str query;     /* without '?' */
};
/* Refuses userinfo, fragments, control bytes, empty hosts, numbers as hosts that are not plain addresses, other schemes. `why` (may be NULL) gets static words. */
bool url_parse(const char *text, struct url *out, const char **why);
/* May the raw path be appended to a URL, and lead nowhere out of it however the other side decodes it, nor hold what no path does?
 * `scratch`: path.len bytes. */
bool url_path_stays(struct str path, char *scratch);
bool authority_valid(struct str); /* host, host:port, [v6], [v6]:port: what Host may say */
bool address_parse(struct str text, struct sockaddr_storage *out); /* IPv4 or IPv6, no port; written either way */
#define ADDRESS_TEXT_MAX 46
struct str address_text(const struct sockaddr_storage *, char out[static ADDRESS_TEXT_MAX]); /* no port; "" of other families */
