/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A registration is a wish to have the router connect somewhere, from inside its network. So a wide list of networks must not
 * open what nobody means by it: an instance's credentials lie at a metadata address, and an HTTP request is enough to make other
 * protocols do things. The ports are those that browsers refuse for that reason (WHATWG Fetch, "bad port").
 */
#include <netinet/in.h>
#include <stdlib.h>

#include "base/egress.h"
#include "base/log.h"
#include "base/networks.h"
#include "base/url.h"

/* 0.0.0.0/8 is the host itself on Linux; 240.0.0.0/4 has the broadcast address. */
#define NOWHERE "0.0.0.0/8,224.0.0.0/4,240.0.0.0/4,ff00::/8"
/* Where the IPv4 address lies in these depends on the network (RFC 8215), or is scrambled (Teredo, RFC 4380). */
#define HIDING "64:ff9b:1::/48,2001::/32"
/* Of AWS (instances, tasks, pods), Google, Azure, Oracle, Alibaba: what answers there gives credentials to whoever asks. */
#define METADATA \
	"169.254.169.254,169.254.170.2,169.254.170.23,168.63.129.16,192.0.0.192,100.100.100.200,fd00:ec2::254,fd00:ec2::23,fd20:ce::254"
#define NEVER NOWHERE "," HIDING "," METADATA
#define LINK_LOCAL "169.254.0.0/16,fe80::/10"

struct egress {
	struct networks *listed, *never, *link_local, *link_local_listed;
};

static const uint16_t ports_of_others[] = {
	1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111, 113,
	115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556,
	563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667,
	6668, 6669, 6679, 6697, 10080,
};

bool egress_port_allowed(uint16_t port)
{
	for (size_t i = 0; i < sizeof(ports_of_others) / sizeof(*ports_of_others); i++)
		if (ports_of_others[i] == port)
			return false;
	return port;
}

static void say_denied(const struct sockaddr_storage *to, uint16_t port)
{
	char text[ADDRESS_TEXT_MAX];

	address_text(to, text);
	log_debug("egress_denied", "address", LOG_S(text), "port", LOG_U(port));
}

static bool address_allowed(const struct egress *egress, const struct sockaddr_storage *to)
{
	if (networks_contain(egress->never, to))
		return false;
	if (networks_contain(egress->link_local, to))
		return networks_contain(egress->link_local_listed, to);
	return networks_contain(egress->listed, to);
}

bool egress_allowed(const struct egress *egress, const struct sockaddr_storage *to)
{
	/* sin_port and sin6_port lie at the same place. */
	uint16_t port = ntohs(((const struct sockaddr_in *)(const void *)to)->sin_port);

	if (egress_port_allowed(port) && address_allowed(egress, to))
		return true;
	say_denied(to, port);
	return false;
}

bool egress_host_allowed(const struct egress *egress, struct str host)
{
	struct sockaddr_storage address;

	return !address_parse(host, &address) || address_allowed(egress, &address);
}

struct egress *egress_new(const char *list)
{
	struct egress *egress = calloc(1, sizeof(*egress));

	if (!egress)
		abort();
	egress->listed = networks_new(list);
	egress->never = networks_new(NEVER);
	egress->link_local = networks_new(LINK_LOCAL);
	egress->link_local_listed = networks_inside(egress->listed, egress->link_local);
	return egress;
}

void egress_free(struct egress *egress)
{
	if (!egress)
		return;
	networks_free(egress->listed);
	networks_free(egress->never);
	networks_free(egress->link_local);
	networks_free(egress->link_local_listed);
	free(egress);
}
