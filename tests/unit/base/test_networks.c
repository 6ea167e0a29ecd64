/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <string.h>

#include "base/networks.h"

static struct sockaddr_storage address(const char *text)
{
	struct sockaddr_storage out = { 0 };

	if (strchr(text, ':')) {
		out.ss_family = AF_INET6;
		ck_assert_int_eq(inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)(void *)&out)->sin6_addr), 1);
	} else {
		out.ss_family = AF_INET;
		ck_assert_int_eq(inet_pton(AF_INET, text, &((struct sockaddr_in *)(void *)&out)->sin_addr), 1);
	}
	return out;
}

static bool contain(const char *list, const struct sockaddr_storage *at)
{
	struct networks *nets = networks_new(list);
	bool found = networks_contain(nets, at);

	networks_free(nets);
	return found;
}

static bool contain_inside(const char *list, const char *inside, const struct sockaddr_storage *at)
{
	struct networks *nets = networks_new(list), *around = networks_new(inside), *picked = networks_inside(nets, around);
	bool found = networks_contain(picked, at);

	networks_free(nets);
	networks_free(around);
	networks_free(picked);
	return found;
}

static const struct {
	const char *list, *address;
	bool contains;
} lists[] = {
	{ "10.0.0.0/8", "10.255.0.1", true }, { "10.0.0.0/8", "11.0.0.1", false }, { "10.0.0.1", "10.0.0.1", true },
	{ "10.0.0.1", "10.0.0.2", false }, { "10.0.0.128/25", "10.0.0.127", false },
	{ "10.0.0.128/25", "10.0.0.200", true },
	{ "0.0.0.0/0", "1.2.3.4", true }, { "0.0.0.0/0", "::1", false }, { "::/0", "1.2.3.4", false },
	{ "::/0", "2001:db8::1", true },
	{ "fd00::/8", "fdff::1", true }, { "fd00::/8", "fe80::1", false }, { "fe80::/10", "febf::1", true },
	{ "::1/128", "::1", true },
	{ "127.0.0.0/8, 10.0.0.0/8 ,::1", "10.1.1.1", true }, { "127.0.0.0/8, 10.0.0.0/8 ,::1", "::1", true },
	/* An IPv4 address in IPv6 clothes is judged as the IPv4 one. */
	{ "10.0.0.0/8", "::ffff:10.0.0.1", true }, { "10.0.0.0/8", "64:ff9b::10.0.0.1", true },
	{ "10.0.0.0/8", "2002:a00:1::", true },
	{ "10.0.0.0/8", "::10.0.0.1", true }, { "10.0.0.0/8", "::ffff:0:10.0.0.1", true }, { "::/0", "::10.0.0.1", false },
	{ "2000::/3", "2002:7f00:1::", false }, { "::/0", "::ffff:169.254.169.254", false },
	/* One bad entry, and the list allows nothing. */
	{ "10.0.0.0/8,x", "10.0.0.1", false }, { "", "10.0.0.1", false }, { "10.0.0.0/33", "10.0.0.1", false },
};

START_TEST(networks_contain_addresses)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		struct sockaddr_storage at = address(lists[i].address);
		ck_assert_msg(contain(lists[i].list, &at) == lists[i].contains, "%s in %s",
		              lists[i].address, lists[i].list);
	}
	struct sockaddr_storage local = { .ss_family = AF_UNIX };
	ck_assert(!contain("0.0.0.0/0,::/0", &local));
	ck_assert(!contain(NULL, &local));
}
END_TEST

START_TEST(those_inside_others_may_be_picked)
{
	struct sockaddr_storage at = address("10.1.0.1");

	ck_assert(contain_inside("10.1.0.0/16", "10.0.0.0/8,::/0", &at));
	ck_assert(contain_inside("0.0.0.0/0, 10.1.0.1", "10.0.0.0/8", &at));
	ck_assert(!contain_inside("0.0.0.0/0,10.2.0.0/16", "10.0.0.0/8", &at));
	ck_assert(!contain_inside("10.1.0.0/16,x", "10.0.0.0/8", &at));
}
END_TEST

START_TEST(lists_of_networks_are_checked)
{
	static const char *const refused[] = { "", ",", "x", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/-1", "10.0.0/8",
	                                       "::/129", "/8", "10.0.0.0/8 x" };

	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		ck_assert_msg(!networks_valid(refused[i]), "%s", refused[i]);
	ck_assert(networks_valid("10.0.0.0/8") && networks_valid("::/0,1.2.3.4") && networks_valid(" ::1 , ::2 "));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("networks");
	TCase *t = tcase_create("networks");

	tcase_add_test(t, networks_contain_addresses);
	tcase_add_test(t, those_inside_others_may_be_picked);
	tcase_add_test(t, lists_of_networks_are_checked);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
