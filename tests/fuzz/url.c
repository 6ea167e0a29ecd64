/* SPDX-License-Identifier: Apache-2.0 */
/* URLs, authorities, addresses, networks: lines of the input, each tried as all of them. */
#include "base/networks.h"
#include "base/url.h"
#include "tests/fuzz/fuzz.h"

static void as_url(const char *text)
{
	const char *why = NULL;
	struct url url;

	if (!url_parse(text, &url, &why)) {
		MUST(why && *why);
		return;
	}
	MUST(url.host.len && url.port);
	MUST(!memchr(url.authority.at, '@', url.authority.len) && !strchr(text, '#'));
	/* Nothing is lost: what was parsed is the text. */
	struct buf again = { 0 };
	buf_printf(&again, "%s%s://%.*s%.*s%s%.*s", url.websocket ? "ws" : "http", url.tls ? "s" : "", STR_ARG(url.authority), STR_ARG(url.path),
	           strchr(text, '?') ? "?" : "", STR_ARG(url.query));
	MUST(!strcmp(again.at, text));
	MUST(authority_valid(url.authority));
	buf_free(&again);
}

static bool contain(const char *list, const struct sockaddr_storage *address)
{
	struct networks *nets = networks_new(list);
	bool found = networks_contain(nets, address);

	networks_free(nets);
	return found;
}

/* An address is in its own network, and a list is valid exactly if it says something of any address. */
static void as_network(const char *text)
{
	struct sockaddr_storage address, loopback;
	struct buf list = { 0 };

	MUST(address_parse(STR("127.0.0.1"), &loopback));
	if (contain(text, &loopback))
		MUST(networks_valid(text));
	if (!address_parse(str_of(text), &address))
		return;
	buf_printf(&list, "%s,0.0.0.0/0,::/0", text);
	MUST(contain(list.at, &address));
	buf_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str rest = { (const char *)bytes, len }, line;

	while (str_cut(&rest, '\n', &line)) {
		char *view = copy_of(line, false), *text = copy_of(line, true);

		authority_valid((struct str){ view, line.len });
		as_url(text);
		as_network(text);
		free(view);
		free(text);
	}
	return 0;
}
