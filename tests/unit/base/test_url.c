/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <check.h>
#include <string.h>

#include "base/url.h"

static const struct {
	const char *text, *host;
	unsigned port;
	const char *authority, *path, *query;
	bool websocket, tls;
} good[] = {
	{ "ws://a", "a", 80, "a", "", "", true, false },
	{ "wss://a.b-c_d", "a.b-c_d", 443, "a.b-c_d", "", "", true, true },
	{ "http://a:8080", "a", 8080, "a:8080", "", "", false, false },
	{ "https://a:65535/x/y?z=1&w", "a", 65535, "a:65535", "/x/y", "z=1&w", false, true },
	{ "http://10.0.0.1?x", "10.0.0.1", 80, "10.0.0.1", "", "x", false, false },
	{ "http://[::1]", "::1", 80, "[::1]", "", "", false, false },
	{ "http://1.a", "1.a", 80, "1.a", "", "", false, false },
	{ "http://sfu1.example.:81", "sfu1.example.", 81, "sfu1.example.:81", "", "", false, false },
	{ "ws://[::ffff:10.0.0.1]", "::ffff:10.0.0.1", 80, "[::ffff:10.0.0.1]", "", "", true, false },
	{ "ws://[fe80::1]:8188/a//b/../c%2F?a?b", "fe80::1", 8188, "[fe80::1]:8188", "/a//b/../c%2F", "a?b", true, false },
};
static const char *const bad[] = {
	"", "a", "ftp://a", "HTTP://a", "http:/a", "http://", "http:///x", "http://?x", "http://:80", "http://a:",
	        "http://a:0",
	"http://a:65536", "http://a:x", "http://a:-1", "http://a:80:80", "http://a b", "http://a\n", "http://a\x7f",
	        "http://\xc3\xbc",
	"http://u@a", "http://u:p@a", "http://a#f", "http://a/#f", "http://[::1", "http://::1", "http://[]",
	        "http://[::1]x", "http://[::1]:",
	/* numbers that a resolver takes for an address, and addresses that are none */
	"http://2130706433", "http://0x7f000001", "http://0x7f.0.0.1", "http://0177.0.0.1", "http://127.1", "http://127.0.0.1.",
	        "http://1.2.3.4.5", "http://256.1.1.1", "http://a.1", "http://a.0xff", "http://.", "http://[127.0.0.1]", "http://[:]",
	        "http://[1:2]", "http://[fe80::1%eth0]", "http://[::ffff:127.0.0.0.1]", "http://[1111:1111:1111:1111:1111:1111:255.255.255.255:1]",
	"http://a/\"", "http://a/\\", "http://a/<", "http://a/{", "http://a%41", "http://a,b", " http://a", "http://a\t/",
};

START_TEST(urls_are_taken_apart)
{
	struct url url;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		ck_assert_msg(url_parse(good[i].text, &url, NULL), "%s", good[i].text);
		ck_assert(str_is(url.host, good[i].host) && url.port == good[i].port && str_is(url.authority,
		        good[i].authority));
		ck_assert(str_is(url.path, good[i].path) && str_is(url.query, good[i].query));
		ck_assert(url.websocket == good[i].websocket && url.tls == good[i].tls);
	}
}
END_TEST

START_TEST(what_is_no_url_is_refused_with_words)
{
	struct url url = { .port = 7 };
	char host[300] = "http://";

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *why = NULL;
		ck_assert_msg(!url_parse(bad[i], &url, &why), "%s", bad[i]);
		ck_assert(why && *why);
		ck_assert_uint_eq(url.port, 7);
	}
	memset(host + 7, 'a', 254);
	ck_assert(!url_parse(host, &url, NULL));
	host[7 + 253] = '\0';
	ck_assert(url_parse(host, &url, NULL));
}
END_TEST

START_TEST(authorities_are_hosts_with_or_without_a_port)
{
	static const char *const valid[] = { "a", "a.b-c_d", "a:1", "a:65535", "1.2.3.4:80", "[::1]", "[::1]:80" };
	static const char *const refused[] = { "", ":80", "a:", "a:0", "a:65536", "a:x", "a:80:80", "a b", "a,b", "u@a", "a:80@b", "a/b", "a?b",
		                           "[::1", "[::1]x", "[]", "%61", "\xc3\xa4" };

	for (size_t i = 0; i < sizeof(valid) / sizeof(*valid); i++)
		ck_assert_msg(authority_valid(str_of(valid[i])), "%s", valid[i]);
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		ck_assert_msg(!authority_valid(str_of(refused[i])), "%s", refused[i]);
}
END_TEST

START_TEST(a_url_has_no_other_bytes)
{
	char text[] = "http://a/?";

	for (int c = 1; c < 256; c++) {
		text[9] = (char)c;
		ck_assert_msg(url_parse(text, &(struct url){ 0 }, NULL) == (c > ' ' && c < 0x7f && !strchr("#\"<>\\^`{|}", c)), "%d", c);
	}
}
END_TEST

START_TEST(addresses_are_written_as_they_are_read)
{
	static const char *const texts[] = { "0.0.0.0", "255.255.255.255", "10.200.3.45", "::", "::1", "2001:db8::a:0:1", "::ffff:10.0.0.1",
		                             "1111:2222:3333:4444:5555:6666:7777:8888" };
	struct sockaddr_storage at;
	char out[ADDRESS_TEXT_MAX];

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		ck_assert(address_parse(str_of(texts[i]), &at));
		struct str text = address_text(&at, out);
		ck_assert_str_eq(text.at, texts[i]);
		ck_assert_uint_eq(text.len, strlen(texts[i]));
	}
	at.ss_family = AF_UNIX;
	ck_assert_uint_eq(address_text(&at, out).len, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("url");
	TCase *t = tcase_create("url");

	tcase_add_test(t, urls_are_taken_apart);
	tcase_add_test(t, a_url_has_no_other_bytes);
	tcase_add_test(t, addresses_are_written_as_they_are_read);
	tcase_add_test(t, authorities_are_hosts_with_or_without_a_port);
	tcase_add_test(t, what_is_no_url_is_refused_with_words);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
