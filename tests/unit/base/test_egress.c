/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <string.h>

#include "base/egress.h"

#define WIDE "0.0.0.0/0,::/0"
#define USUAL "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,127.0.0.0/8,fc00::/7,::1/128"

static struct sockaddr_storage address(const char *text, uint16_t port)
{
	struct sockaddr_storage out = { .ss_family = strchr(text, ':') ? AF_INET6 : AF_INET };
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&out;

	ck_assert_int_eq(inet_pton(out.ss_family, text, out.ss_family == AF_INET ? (void *)&v4->sin_addr : &v6->sin6_addr), 1);
	v4->sin_port = htons(port); /* where sin6_port is, too */
	return out;
}

static bool allowed(const char *list, const struct sockaddr_storage *to)
{
	struct egress *egress = egress_new(list);
	bool yes = egress_allowed(egress, to);

	egress_free(egress);
	return yes;
}

static bool host_allowed(const char *list, struct str host)
{
	struct egress *egress = egress_new(list);
	bool yes = egress_host_allowed(egress, host);

	egress_free(egress);
	return yes;
}

static const struct {
	const char *list, *address;
	bool allowed;
} addresses[] = {
	{ USUAL, "127.0.0.1", true }, { USUAL, "::1", true }, { USUAL, "10.1.2.3", true }, { USUAL, "fd12::1", true },
	{ USUAL, "8.8.8.8", false }, { USUAL, "2001:db8::1", false }, { USUAL, "::ffff:10.1.2.3", true },
	{ USUAL, "::ffff:8.8.8.8", false }, { USUAL, "64:ff9b::8.8.8.8", false }, { USUAL, "2002:808:808::", false },
	{ WIDE, "8.8.8.8", true }, { WIDE, "2001:db8::1", true }, { WIDE, "::1", true }, { WIDE, "::ffff:8.8.8.8", true },
	{ "::/0", "::ffff:8.8.8.8", false }, { "::/0", "::8.8.8.8", false }, { "::/0", "::ffff:0:8.8.8.8", false },
	/* never: unspecified, multicast, reserved and broadcast, in whatever clothes */
	{ WIDE, "0.0.0.0", false }, { WIDE, "0.1.2.3", false }, { WIDE, "::", false }, { WIDE, "::ffff:0.0.0.0", false },
	{ "0.0.0.0/8", "0.0.0.0", false }, { WIDE, "::0.0.0.2", false },
	{ WIDE, "224.0.0.1", false }, { WIDE, "239.255.255.255", false }, { WIDE, "ff02::1", false },
	{ "ff02::1", "ff02::1", false }, { WIDE, "::ffff:224.0.0.1", false }, { WIDE, "2002:e000:1::", false },
	{ WIDE, "240.0.0.1", false }, { WIDE, "255.255.255.255", false }, { "255.255.255.255", "255.255.255.255", false },
	{ WIDE, "64:ff9b::255.255.255.255", false },
	/* never: what hides another address */
	{ WIDE, "64:ff9b:1::7f00:1", false }, { "64:ff9b:1::/48", "64:ff9b:1::7f00:1", false }, { WIDE, "2001:0:53aa:64c::1", false },
	/* never: metadata services */
	{ WIDE, "169.254.169.254", false }, { "169.254.0.0/16", "169.254.169.254", false },
	{ "169.254.169.254", "169.254.169.254", false }, { WIDE, "::ffff:169.254.169.254", false },
	{ WIDE, "::169.254.169.254", false }, { WIDE, "64:ff9b::169.254.169.254", false }, { WIDE, "2002:a9fe:a9fe::1", false },
	{ "169.254.0.0/16", "169.254.170.2", false }, { "169.254.0.0/16", "169.254.170.23", false },
	{ WIDE, "168.63.129.16", false }, { WIDE, "192.0.0.192", false }, { USUAL, "100.100.100.200", false },
	{ USUAL, "100.100.100.201", true }, { USUAL, "fd00:ec2::254", false }, { USUAL, "fd00:ec2::23", false },
	{ USUAL, "fd20:ce::254", false },
	/* link-local: where an entry says so */
	{ WIDE, "169.254.1.1", false }, { WIDE, "fe80::1", false }, { USUAL, "fe80::1", false }, { "168.0.0.0/7", "169.254.1.1", false },
	{ "169.254.1.0/24", "169.254.1.1", true }, { "10.0.0.0/8, 169.254.0.0/16", "::ffff:169.254.1.1", true },
	{ "169.254.1.0/24," WIDE, "169.254.2.1", false }, { "fe80::/10", "fe80::1", true }, { "fe80::1", "fe80::2", false },
	{ "", "10.0.0.1", false }, { "10.0.0.0/8,x", "10.0.0.1", false }, { NULL, "10.0.0.1", false },
};

START_TEST(addresses_are_allowed_by_the_list_less_what_none_may_open)
{
	for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++) {
		const char *list = addresses[i].list, *text = addresses[i].address;
		struct sockaddr_storage to = address(text, 8080);
		ck_assert_msg(allowed(list, &to) == addresses[i].allowed, "%s in %s", text, list);
		ck_assert_msg(host_allowed(list, (struct str){ text, strlen(text) }) == addresses[i].allowed, "%s in %s", text, list);
	}
	struct sockaddr_storage local = { .ss_family = AF_UNIX };
	ck_assert(!allowed(WIDE, &local));
}
END_TEST

START_TEST(names_are_judged_when_they_are_resolved)
{
	ck_assert(host_allowed(USUAL, STR("sfu.example.com")));
	ck_assert(host_allowed(USUAL, STR("a-name-that-is-longer-than-any-address-can-be.example.com")));
}
END_TEST

START_TEST(ports_of_other_protocols_are_not_connected_to)
{
	static const uint16_t others[] = { 0, 1, 9, 22, 25, 53, 110, 143, 465, 587, 995, 2049, 5060, 6000, 6667, 6697, 10080 };
	static const uint16_t ours[] = { 2, 80, 443, 7880, 8080, 8088, 8188, 8443, 65535 };

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		struct sockaddr_storage v4 = address("10.0.0.1", others[i]), v6 = address("::1", others[i]);
		ck_assert_msg(!egress_port_allowed(others[i]), "%u", others[i]);
		ck_assert(!allowed(WIDE, &v4) && !allowed(WIDE, &v6));
	}
	for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++) {
		struct sockaddr_storage v4 = address("10.0.0.1", ours[i]), v6 = address("::1", ours[i]);
		ck_assert_msg(egress_port_allowed(ours[i]), "%u", ours[i]);
		ck_assert(allowed(WIDE, &v4) && allowed(WIDE, &v6));
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("egress");
	TCase *t = tcase_create("egress");

	tcase_add_test(t, addresses_are_allowed_by_the_list_less_what_none_may_open);
	tcase_add_test(t, names_are_judged_when_they_are_resolved);
	tcase_add_test(t, ports_of_other_protocols_are_not_connected_to);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
