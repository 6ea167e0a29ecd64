/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses are judged after they are resolved, never by their text: an IPv4 address inside an IPv6 one (mapped, NAT64, 6to4) is
 * judged as the IPv4 one that it leads to.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/networks.h"
#include "base/str.h"

struct bytes { /* an address as bits: 4 or 16 bytes */
	unsigned char at[16];
	size_t len;
};
struct network {
	struct bytes first;
	size_t bits;
};
struct networks {
	size_t count;
	struct network at[];
};

/*
 * The IPv4 address that an IPv6 one stands for: mapped (::ffff:0:0/96), translated (::ffff:0:0:0/96), compatible (::/96, but for
 * loopback), NAT64 (64:ff9b::/96), 6to4 (2002::/16).
 */
static bool embedded_v4(const unsigned char *v6, struct bytes *out)
{
	static const unsigned char before[][12] = { { [10] = 0xff, [11] = 0xff }, { [8] = 0xff, [9] = 0xff }, { 0 },
		                                    { 0, 0x64, 0xff, 0x9b } };
	const unsigned char *at = NULL;

	for (size_t i = 0; i < sizeof(before) / sizeof(*before); i++)
		if (!memcmp(v6, before[i], 12) && memcmp(v6, &in6addr_loopback, 16))
			at = v6 + 12;
	if (v6[0] == 0x20 && v6[1] == 0x02)
		at = v6 + 2;
	if (!at)
		return false;
	memmove(out->at, at, 4); /* may be the same bytes */
	out->len = 4;
	return true;
}

static bool address_bytes(const struct sockaddr_storage *address, struct bytes *out)
{
	if (address->ss_family == AF_INET) {
		memcpy(out->at, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
		out->len = 4;
		return true;
	}
	if (address->ss_family != AF_INET6)
		return false;
	memcpy(out->at, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
	out->len = 16;
	embedded_v4(out->at, out);
	return true;
}

static bool parse_network(struct str text, struct network *net)
{
	char buffer[64];
	const char *slash = memchr(text.at, '/', text.len);
	size_t len = slash ? (size_t)(slash - text.at) : text.len;
	uint64_t n;

	if (!len || len >= sizeof(buffer))
		return false;
	memcpy(buffer, text.at, len);
	buffer[len] = '\0';
	bool v6 = strchr(buffer, ':');
	net->first.len = inet_pton(v6 ? AF_INET6 : AF_INET, buffer, net->first.at) != 1 ? 0 : v6 ? 16 : 4;
	n = net->first.len * 8;
	if (slash && !parse_u64((struct str){ slash + 1, text.len - len - 1 }, &n))
		return false;
	net->bits = n;
	return net->first.len && n <= net->first.len * 8;
}

static bool covers(const struct network *net, const struct bytes *address)
{
	const struct bytes *first = &net->first;
	size_t whole = net->bits / 8, rest = net->bits % 8;

	if (first->len != address->len || memcmp(first->at, address->at, whole) != 0)
		return false;
	return !rest || !((first->at[whole] ^ address->at[whole]) & (0xff00 >> rest) & 0xff);
}

static bool contain(const struct networks *nets, const struct bytes *address)
{
	for (size_t i = 0; i < nets->count; i++)
		if (covers(&nets->at[i], address))
			return true;
	return false;
}

static struct networks *with_room(size_t count)
{
	struct networks *nets = calloc(1, sizeof(*nets) + count * sizeof(nets->at[0]));

	if (!nets)
		abort();
	return nets;
}

struct networks *networks_new(const char *list)
{
	struct str rest = str_of(list), piece;
	size_t most = 0;

	while (str_cut(&rest, ',', &piece))
		most++;
	struct networks *nets = with_room(most);
	for (rest = str_of(list); str_cut(&rest, ',', &piece); nets->count++)
		if (!parse_network(str_trim(piece), &nets->at[nets->count])) {
			nets->count = 0;
			break;
		}
	return nets;
}

struct networks *networks_inside(const struct networks *of, const struct networks *inside)
{
	struct networks *nets = with_room(of->count);

	for (size_t i = 0; i < of->count; i++)
		if (contain(inside, &of->at[i].first))
			nets->at[nets->count++] = of->at[i];
	return nets;
}

void networks_free(struct networks *nets)
{
	free(nets);
}

bool networks_contain(const struct networks *nets, const struct sockaddr_storage *address)
{
	struct bytes bytes;

	return address_bytes(address, &bytes) && contain(nets, &bytes);
}

bool networks_valid(const char *list)
{
	struct networks *nets = networks_new(list);
	bool valid = nets->count > 0;

	networks_free(nets);
	return valid;
}
