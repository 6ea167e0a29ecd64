/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usherctl against a router that answers as it likes. The first byte says which command; then the answers, with 0xff between
 * them, each a status line's number, a line's end and the body. What is printed for people has no control characters but line
 * ends.
 */
#include "base/loop.h"
#include "client/ctl/ctl.h"
#include "tests/fuzz/far.h"

#define ANSWERS_MAX 8

static struct str answers;
static size_t given;

static void router_got(struct far_conn *c)
{
	struct str said = { 0 }, status = { 0 };
	struct buf out = { 0 };
	uint64_t number = 0;

	if (c->state || !c->in.len || !strstr(c->in.at, "\r\n\r\n"))
		return;
	c->state = 1;
	if (given++ < ANSWERS_MAX)
		str_cut(&answers, '\xff', &said);
	str_cut(&said, '\n', &status);
	parse_u64(status, &number);
	number = number > 199 && number < 600 ? number : 200;
	buf_printf(&out, "HTTP/1.1 %u X\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", (unsigned)number, said.len);
	buf_add(&out, said.at, said.len);
	c->finish = true;
	far_say(c, out.at, out.len);
	buf_free(&out);
}

static void must_be_clean(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		MUST(c == '\n' || (c >= ' ' && c != 0x7f));
		MUST(c != 0xc2 || i + 1 == len || (unsigned char)text[i + 1] >= 0xa0);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	far_listen();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str in = { (const char *)bytes, len };
	const struct http_conf conf = { .connect_timeout_ms = 1000, .connections_per_host = 1, .idle_connections = 1, .idle_ms = 1000 };
	char url[64], *text[2];
	size_t sizes[2], ncommands = 0;
	struct far router;
	struct ctl ctl = { .url = url, .timeout_ms = 1000, .name = "standup", .out = open_memstream(&text[0], &sizes[0]),
		           .err = open_memstream(&text[1], &sizes[1]), .loop = loop_new() };

	while (commands[ncommands].name)
		ncommands++;
	const struct command *command = &commands[feed_byte(&in) % ncommands];
	answers = in;
	given = 0;
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", far_port);
	ctl.http = http_new(ctl.loop, &conf);
	far_open(&router, ctl.loop, router_got, NULL);
	if (!(command->options & OPTION_TOKEN)) /* makes keys; asks nobody */
		command->run(&ctl);
	far_close(&router);
	http_free(ctl.http);
	loop_free(ctl.loop);
	arena_reset(&ctl.arena);
	fclose(ctl.out);
	fclose(ctl.err);
	for (int i = 0; i < 2; i++) {
		must_be_clean(text[i], sizes[i]);
		free(text[i]);
	}
	return 0;
}
