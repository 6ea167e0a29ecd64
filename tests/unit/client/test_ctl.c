/* SPDX-License-Identifier: Apache-2.0 */
/* usherctl whole, against canned answers: what it asks, what it prints, with which code it leaves. */
#include <check.h>

#include "client/ctl/ctl.h"
#include "client/ctl/table.h"
#include "tests/unit/client/fake_http.h"

#define CALLS_MAX 8

/* -- the router, which says what it was told to say, one answer after another -------------------------------------------- */
static struct {
	struct fake_http http;
	const char *status[CALLS_MAX], *body[CALLS_MAX];
	char asked[CALLS_MAX][4096]; /* each request, whole */
	unsigned calls, answers;
} router;

static void router_answer(void *arg, const char *request, const char *body, struct buf *out)
{
	unsigned i = router.calls++;

	(void)arg;
	(void)body;
	if (i >= router.answers) {
		fake_http_answer(out, "500 Internal Server Error", "{}");
		return;
	}
	snprintf(router.asked[i], sizeof(router.asked[i]), "%s", request);
	fake_http_answer(out, router.status[i], router.body[i]);
}

static void router_says(const char *status, const char *body)
{
	router.status[router.answers] = status;
	router.body[router.answers++] = body;
}

/* -- usherctl ------------------------------------------------------------------------------------------------------------ */
static char *out_text, *err_text;
static size_t out_len, err_len;
static char url[64];
static const char *token_file;

static const char *env(const char *name)
{
	if (!strcmp(name, "USHER_URL"))
		return *url ? url : NULL;
	return !strcmp(name, "USHER_TOKEN_FILE") ? token_file : NULL;
}

static int run_words(int argc, char **argv)
{
	FILE *out, *err;
	int code;

	free(out_text);
	free(err_text);
	out = open_memstream(&out_text, &out_len);
	err = open_memstream(&err_text, &err_len);
	code = ctl_main(argc, argv, env, out, err);
	fclose(out);
	fclose(err);
	return code;
}

/* Words separated by spaces. */
static int run(const char *line)
{
	char words[512], *argv[24] = { words }, *save = NULL;
	int argc = 0;

	snprintf(words, sizeof(words), "usherctl %s", line);
	for (char *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	argv[argc] = NULL;
	return run_words(argc, argv);
}

static void setup(void)
{
	memset(&router, 0, sizeof(router));
	fake_http_start(&router.http, router_answer, NULL);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", router.http.port);
	token_file = NULL;
}

static void teardown(void)
{
	fake_http_stop(&router.http);
	free(out_text);
	free(err_text);
	out_text = err_text = NULL;
}

#define CK_ASKED(i, text) ck_assert_msg(!strncmp(router.asked[i], text, strlen(text)), "asked: %s", router.asked[i])
#define CK_SHOWS(text, part) ck_assert_msg(strstr(text, part), "shown: %s", text)

#define NODE                                                                                                           \
	"{\"id\":\"sfu-1\",\"wish\":\"enabled\",\"reported\":null,\"state\":\"ready\",\"placeable\":true,\"why_not\":[],"  \
	"\"incarnation\":\"i-1\",\"registration\":17,\"region\":null,\"zone\":null,\"pool\":\"default\",\"labels\":{\"a\":\"b\"}," \
	"\"load\":{\"cpu\":0.25,\"stress\":0.5,\"bandwidth_out_mbps\":12.34},\"score\":0.5,\"charged\":0,\"rooms\":3,\"participants\":null,\"load_age_ms\":12,"         \
	"\"lease_remaining_ms\":3900,\"breakers\":[{\"router\":\"r-1\",\"class\":\"signal\",\"state\":\"open\",\"failures\":5,"  \
	"\"retry_in_ms\":700}],\"drain\":null}"

START_TEST(nodes_are_a_table)
{
	router_says("200 OK", "{\"nodes\":[" NODE ",{\"id\":\"b\",\"state\":\"lost\",\"placeable\":false,\"why_not\":[\"lost\",\"x\"],"
	                      "\"score\":null}],\"next_cursor\":null,\"partial\":[]}");
	ck_assert_int_eq(run("nodes"), CTL_DONE);
	CK_ASKED(0, "GET /v1/nodes?limit=1000 HTTP/1.1\r\n");
	ck_assert_str_eq(out_text, "NODE   STATE  SCORE  ROOMS  PEOPLE  CPU  MEMORY  POOL     REGION  NEW ROOMS\n"
	                           "sfu-1  ready    50%      3       -  25%       -  default  -       yes\n"
	                           "b      lost       -      0       -    -       -  -        -       no: lost,x\n");
	ck_assert_str_eq(err_text, "");
}
END_TEST

START_TEST(a_node_shows_its_breakers)
{
	router_says("200 OK", NODE);
	ck_assert_int_eq(run("node sfu-1"), CTL_DONE);
	CK_ASKED(0, "GET /v1/nodes/sfu-1 HTTP/1.1\r\n");
	CK_SHOWS(out_text, "registration   17\n");
	CK_SHOWS(out_text, "labels         a=b\n");
	CK_SHOWS(out_text, "stress         50.0%\nmbps out       12.3\n");
	CK_SHOWS(out_text, "r-1         signal  open          5          700\n");
}
END_TEST

START_TEST(lists_follow_the_cursor)
{
	router_says("200 OK", "{\"rooms\":[{\"room\":\"a\",\"node\":\"n\",\"epoch\":1}],\"next_cursor\":\"a&b\",\"partial\":[\"r-2\"]}");
	router_says("200 OK", "{\"rooms\":[{\"room\":\"c\",\"node\":\"n\",\"epoch\":2}],\"next_cursor\":null,\"partial\":[]}");
	ck_assert_int_eq(run("rooms --prefix x/ --node n"), CTL_DONE);
	CK_ASKED(0, "GET /v1/rooms?node=n&prefix=x%2F&limit=1000 HTTP/1.1\r\n");
	CK_ASKED(1, "GET /v1/rooms?node=n&prefix=x%2F&limit=1000&cursor=a%26b HTTP/1.1\r\n");
	CK_SHOWS(out_text, "\na     n     -          1       -  -\nc     n");
	CK_SHOWS(err_text, "no answer from r-2");
}
END_TEST

START_TEST(a_limit_ends_the_pages)
{
	router_says("200 OK", "{\"rooms\":[{\"room\":\"a\"},{\"room\":\"b\"}],\"next_cursor\":\"b\",\"partial\":[]}");
	ck_assert_int_eq(run("rooms --limit 2"), CTL_DONE);
	CK_ASKED(0, "GET /v1/rooms?limit=2 HTTP/1.1\r\n");
	ck_assert_uint_eq(router.calls, 1);
}
END_TEST

START_TEST(json_is_passed_on_raw)
{
	router_says("200 OK", "{ \"rooms\":[], \"next_cursor\":null,\"partial\":[],\"new\":1 }");
	ck_assert_int_eq(run("--json rooms"), CTL_DONE);
	ck_assert_str_eq(out_text, "{ \"rooms\":[], \"next_cursor\":null,\"partial\":[],\"new\":1 }\n");
}
END_TEST

START_TEST(join_sends_the_wishes)
{
	router_says("200 OK", "{\"room\":\"a/b\",\"created\":true,\"epoch\":1795328740704,\"source\":\"store\",\"node\":{\"id\":\"sfu-1\","
	                      "\"region\":null,\"incarnation\":\"i\"},\"signal\":{\"mode\":\"proxy\",\"url\":\"ws://h/s\"},"
	                      "\"ice_servers\":[],\"hints\":{\"janus\":{\"pin\":\"p\"}}}");
	ck_assert_int_eq(run("join a/b --participant ann --region eu"), CTL_DONE);
	CK_ASKED(0, "POST /v1/rooms/a%2Fb/join HTTP/1.1\r\n");
	CK_SHOWS(router.asked[0], "\r\n\r\n{\"participant\":\"ann\",\"region\":\"eu\"}");
	CK_SHOWS(router.asked[0], "application/json");
	CK_SHOWS(out_text, "epoch   1795328740704\n");
	CK_SHOWS(out_text, "signal  ws://h/s\n");
	CK_SHOWS(out_text, "hints   {\"janus\":{\"pin\":\"p\"}}\n");
}
END_TEST

START_TEST(changes_say_what_they_did)
{
	router_says("204 No Content", "");
	router_says("204 No Content", "");
	router_says("204 No Content", "");
	router_says("204 No Content", "");
	router_says("204 No Content", "");
	ck_assert_int_eq(run("cordon sfu-1"), CTL_DONE);
	CK_ASKED(0, "PUT /v1/nodes/sfu-1/cordon HTTP/1.1\r\n");
	ck_assert_int_eq(run("uncordon sfu-1"), CTL_DONE);
	CK_ASKED(1, "DELETE /v1/nodes/sfu-1/cordon HTTP/1.1\r\n");
	ck_assert_int_eq(run("close standup --epoch 17"), CTL_DONE);
	CK_ASKED(2, "DELETE /v1/rooms/standup?epoch=17 HTTP/1.1\r\n");
	ck_assert_str_eq(out_text, "standup is closed\n");
	ck_assert_int_eq(run("close standup --force"), CTL_DONE);
	CK_ASKED(3, "DELETE /v1/rooms/standup?force=true HTTP/1.1\r\n");
	ck_assert_int_eq(run("remove sfu-1"), CTL_USAGE); /* nothing was asked */
	ck_assert_int_eq(run("remove sfu-1 --force"), CTL_DONE);
	CK_ASKED(4, "DELETE /v1/nodes/sfu-1?force=true HTTP/1.1\r\n");
}
END_TEST

START_TEST(refusals_are_told_and_coded)
{
	static const struct {
		const char *status, *body, *shown;
		int code;
	} rows[] = {
		{ "404 Not Found", "{\"title\":\"Nothing is here\",\"code\":\"not_found\",\"detail\":\"no node holds this room\"}",
		  "usherctl: Nothing is here (not_found)\n  no node holds this room\n", CTL_NOT_FOUND },
		{ "409 Conflict", "{\"title\":\"T\",\"code\":\"stale_epoch\",\"detail\":\"T\"}", "usherctl: T (stale_epoch)\n", CTL_REFUSED },
		{ "401 Unauthorized", "{\"title\":\"T\",\"code\":\"unauthorized\"}", "usherctl: T (unauthorized)\n", CTL_REFUSED },
		{ "503 Service Unavailable", "{\"title\":\"T\",\"code\":\"no_nodes\"}", "usherctl: T (no_nodes)\n", CTL_FAILED },
		{ "502 Bad Gateway", "<html>", "usherctl: the router answered 502\n", CTL_FAILED },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		router_says(rows[i].status, rows[i].body);
		ck_assert_int_eq(run("room standup"), rows[i].code);
		ck_assert_str_eq(err_text, rows[i].shown);
		ck_assert_str_eq(out_text, "");
	}
}
END_TEST

START_TEST(refusals_are_safe_for_terminals)
{
	router_says("409 Conflict", "{\"title\":\"T\\u001b[2J\",\"code\":\"c\",\"detail\":\"D\\u009b1m\\n\"}");
	ck_assert_int_eq(run("room standup"), CTL_REFUSED);
	ck_assert_str_eq(err_text, "usherctl: T?[2J (c)\n  D?1m?\n");
	router_says("200 OK", "{\"rooms\":[],\"next_cursor\":null,\"partial\":[\"r\\u001b\"]}");
	ck_assert_int_eq(run("rooms"), CTL_DONE);
	CK_SHOWS(err_text, "no answer from r?\n");
}
END_TEST

START_TEST(a_cursor_that_stands_still_ends)
{
	for (int i = 0; i < 3; i++)
		router_says("200 OK", "{\"rooms\":[{\"room\":\"a\"}],\"next_cursor\":\"a\",\"partial\":[]}");
	ck_assert_int_eq(run("rooms"), CTL_FAILED);
	ck_assert_uint_eq(router.calls, 2);
	CK_SHOWS(err_text, "repeats its cursor");
}
END_TEST

START_TEST(output_that_cannot_be_written_is_a_failure)
{
	char *argv[] = { "usherctl", "rooms", NULL }, *help[] = { "usherctl", "--help", NULL };
	FILE *full = fopen("/dev/full", "w"), *err = open_memstream(&err_text, &err_len);

	router_says("200 OK", "{\"rooms\":[],\"next_cursor\":null,\"partial\":[]}");
	ck_assert_int_eq(ctl_main(2, argv, env, full, err), CTL_FAILED);
	clearerr(full);
	ck_assert_int_eq(ctl_main(2, help, env, full, err), CTL_FAILED);
	fclose(full);
	fclose(err);
	CK_SHOWS(err_text, "cannot be written");
}
END_TEST

START_TEST(drain_and_move_send_what_was_said)
{
	for (int i = 0; i < 4; i++)
		router_says("204 No Content", "");
	ck_assert_int_eq(run("drain sfu-1"), CTL_DONE);
	CK_ASKED(0, "PUT /v1/nodes/sfu-1/drain HTTP/1.1\r\n");
	CK_SHOWS(router.asked[0], "\r\n\r\n{}");
	ck_assert_int_eq(run("drain sfu-1 --policy move --deadline-ms 30000"), CTL_DONE);
	CK_SHOWS(router.asked[1], "\r\n\r\n{\"policy\":\"move\",\"deadline_ms\":30000}");
	ck_assert_int_eq(run("undrain sfu-1"), CTL_DONE);
	CK_ASKED(2, "DELETE /v1/nodes/sfu-1/drain HTTP/1.1\r\n");
	ck_assert_int_eq(run("move a/b --node sfu-2 --epoch 17"), CTL_DONE);
	CK_ASKED(3, "POST /v1/rooms/a%2Fb/move HTTP/1.1\r\n");
	CK_SHOWS(router.asked[3], "\r\n\r\n{\"node\":\"sfu-2\",\"epoch\":17}");
}
END_TEST

#define DRAINING(state, left, moved)                                                                                   \
	"{\"id\":\"sfu-1\",\"state\":\"" state "\",\"incarnation\":\"i7\",\"drain\":{\"by\":\"node\",\"policy\":\"move\"," \
	"\"rooms_left\":" left ",\"participants_left\":9,\"moved\":" moved "}}"

START_TEST(own_drain_names_the_process_and_is_followed_to_its_end)
{
	router_says("200 OK", "{\"id\":\"sfu-1\",\"state\":\"ready\",\"incarnation\":\"i7\",\"drain\":null}");
	router_says("204 No Content", "");
	router_says("200 OK", "{\"id\":\"sfu-1\",\"state\":\"ready\",\"drain\":null}"); /* a router that has not read it yet */
	router_says("200 OK", DRAINING("draining", "2", "1"));
	router_says("503 Service Unavailable", "{}");
	router_says("200 OK", DRAINING("drained", "0", "3"));
	ck_assert_int_eq(run("drain sfu-1 --own --policy move --wait"), CTL_DONE);
	CK_SHOWS(router.asked[1], "\r\n\r\n{\"policy\":\"move\",\"incarnation\":\"i7\"}");
	CK_SHOWS(out_text, "2 rooms left with 9 participants, 1 moved\n");
	CK_SHOWS(out_text, "sfu-1 is drained\n");
	ck_assert_uint_eq(router.calls, 6);
}
END_TEST

START_TEST(a_drain_that_somebody_undid_is_a_failure)
{
	router_says("204 No Content", "");
	router_says("200 OK", DRAINING("draining", "2", "1"));
	router_says("200 OK", "{\"id\":\"sfu-1\",\"state\":\"ready\",\"drain\":null}");
	ck_assert_int_eq(run("drain sfu-1 --wait"), CTL_FAILED);
	CK_SHOWS(err_text, "undone");
}
END_TEST

START_TEST(a_node_that_is_nobody_has_no_drain_of_its_own)
{
	router_says("200 OK", "{\"id\":\"sfu-1\",\"state\":\"lost\",\"incarnation\":null,\"drain\":null}");
	ck_assert_int_eq(run("drain sfu-1 --own"), CTL_FAILED);
	ck_assert_uint_eq(router.calls, 1);
	router_says("404 Not Found", "{\"title\":\"No such node\",\"code\":\"unknown_node\"}");
	ck_assert_int_eq(run("drain sfu-2"), CTL_NOT_FOUND);
}
END_TEST

START_TEST(help_names_all_there_is)
{
	static const char *const parts[] = { "USHER_URL", "USHER_TOKEN_FILE", "Exit code: 0 done, 1 failed, 2 usage, 3 not found, 4 refused, "
		                             "5 unreachable", "--json", "--url URL", "--timeout-ms N" };

	ck_assert_int_eq(run("--help"), CTL_DONE);
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		CK_SHOWS(out_text, parts[i]);
	for (const struct command *c = commands; c->name; c++)
		CK_SHOWS(out_text, c->help);
}
END_TEST

START_TEST(an_answer_that_is_not_understood)
{
	router_says("200 OK", "{\"nodes\":3}");
	ck_assert_int_eq(run("nodes"), CTL_FAILED);
	CK_SHOWS(err_text, "nodes");
}
END_TEST

START_TEST(nobody_there)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0); /* bound, not listening */
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", ntohs(at.sin_port));
	ck_assert_int_eq(run("nodes"), CTL_UNREACHABLE);
	CK_SHOWS(err_text, url);
	close(fd);
}
END_TEST

START_TEST(usage_is_strict)
{
	static const char *const lines[] = { "", "dance", "node", "nodes extra", "room a b", "nodes --epoch 3", "close a", "close a --epoch 0",
		                             "close a --epoch 1 --force", "rooms --limit x", "rooms --limit", "--wrong", "--url ftp://x nodes",
		                             "--url http://h/?q nodes", "cordon a --node b", "drain", "drain a --deadline-ms 0",
		                             "drain a --deadline-ms -1", "undrain a --wait", "move a --force" };

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		ck_assert_msg(run(lines[i]) == CTL_USAGE, "%s", lines[i]);
		ck_assert_uint_gt(err_len, 0);
	}
	ck_assert_uint_eq(router.calls, 0);
	ck_assert_int_eq(run("--help"), CTL_DONE);
	CK_SHOWS(out_text, "uncordon NODE");
	ck_assert_int_eq(run("--version"), CTL_DONE);
}
END_TEST

START_TEST(the_token_is_sent)
{
	char path[] = "/tmp/usherctl-token-XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_eq((int)write(fd, "abc.DEF-1\nrest", 14), 14);
	token_file = path;
	router_says("200 OK", "{\"routers\":[],\"next_cursor\":null,\"partial\":[]}");
	ck_assert_int_eq(run("routers"), CTL_DONE);
	CK_SHOWS(router.asked[0], "\r\nAuthorization: Bearer abc.DEF-1\r\n");
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq((int)pwrite(fd, "a b\n", 4, 0), 4);
	ck_assert_int_eq(run("routers"), CTL_USAGE);
	for (int at = 0; at < 5000; at++)
		ck_assert_int_eq((int)pwrite(fd, "x", 1, at), 1);
	ck_assert_int_eq(run("routers"), CTL_USAGE); /* rather than half of it */
	unlink(path);
	close(fd);
	ck_assert_int_eq(run("routers"), CTL_USAGE);
	ck_assert_uint_eq(router.calls, 1);
}
END_TEST

START_TEST(tables_are_safe_for_terminals)
{
	static const char *const names[] = { "A", ">N", NULL };
	struct table t = { 0 };
	FILE *out;

	free(out_text);
	out = open_memstream(&out_text, &out_len);
	table_head(&t, names);
	table_text(&t, "caf\xc3\xa9\x1b[2J\xc2\x9b");
	table_u64(&t, 7);
	table_print(&t, out);
	table_free(&t);
	fclose(out);
	ck_assert_str_eq(out_text, "A          N\ncaf\xc3\xa9?[2J?  7\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ctl");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, nodes_are_a_table);
	tcase_add_test(all, a_node_shows_its_breakers);
	tcase_add_test(all, lists_follow_the_cursor);
	tcase_add_test(all, a_limit_ends_the_pages);
	tcase_add_test(all, json_is_passed_on_raw);
	tcase_add_test(all, join_sends_the_wishes);
	tcase_add_test(all, changes_say_what_they_did);
	tcase_add_test(all, drain_and_move_send_what_was_said);
	tcase_add_test(all, own_drain_names_the_process_and_is_followed_to_its_end);
	tcase_add_test(all, a_drain_that_somebody_undid_is_a_failure);
	tcase_add_test(all, a_node_that_is_nobody_has_no_drain_of_its_own);
	tcase_add_test(all, refusals_are_told_and_coded);
	tcase_add_test(all, refusals_are_safe_for_terminals);
	tcase_add_test(all, a_cursor_that_stands_still_ends);
	tcase_add_test(all, output_that_cannot_be_written_is_a_failure);
	tcase_add_test(all, help_names_all_there_is);
	tcase_add_test(all, an_answer_that_is_not_understood);
	tcase_add_test(all, nobody_there);
	tcase_add_test(all, usage_is_strict);
	tcase_add_test(all, the_token_is_sent);
	tcase_add_test(all, tables_are_safe_for_terminals);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
