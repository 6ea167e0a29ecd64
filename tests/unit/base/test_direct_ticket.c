/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets for a gate, which knows the grants of its rooms and nothing else. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/wire/direct_ticket.h"
#include "base/wire/ticket.h"

#define GRANT "AAECAwQFBgcICQoLDA0ODw"
#define OTHER "AAECAwQFBgcICQoLDA0OEA"

static const struct direct_ticket given = { 1795328740704, 1795328740123, STR("stand\xc3\xbcp"), STR("ann"), { 0 }, { 0 } };
static struct arena arena;

static void teardown(void)
{
	arena_reset(&arena);
}

static struct str made(const struct direct_ticket *ticket, const char *grants)
{
	struct buf text = { 0 };

	direct_ticket_write(ticket, str_of(grants), &text);
	struct str kept = { arena_copy(&arena, text.at, text.len), text.len };
	buf_free(&text);
	return kept;
}

static bool opens(struct str text, const char *grant)
{
	struct direct_ticket ticket;

	return direct_ticket_read(text, &arena, &ticket) && direct_ticket_genuine(&ticket, str_of(grant));
}

START_TEST(it_says_what_was_written)
{
	struct direct_ticket ticket;

	ck_assert(direct_ticket_read(made(&given, GRANT), &arena, &ticket));
	ck_assert_uint_eq(ticket.ends_ms, given.ends_ms);
	ck_assert_uint_eq(ticket.epoch, given.epoch);
	ck_assert(str_eq(ticket.room, given.room) && str_is(ticket.holder, "ann"));
	ck_assert(direct_ticket_genuine(&ticket, STR(GRANT)));
	ck_assert(!direct_ticket_genuine(&ticket, STR(OTHER)) && !direct_ticket_genuine(&ticket, STR("")));
}
END_TEST

START_TEST(no_character_can_be_another)
{
	struct str text = made(&given, GRANT);
	char *at = arena_copy(&arena, text.at, text.len);

	for (size_t i = 0; i < text.len; i++)
		for (int c = 1; c < 256; c++) {
			if ((char)c == text.at[i])
				continue;
			at[i] = (char)c;
			ck_assert_msg(!opens((struct str){ at, text.len }, GRANT), "%zu: %d", i, c);
			at[i] = text.at[i];
		}
	for (size_t len = 0; len < text.len; len++)
		ck_assert(!opens((struct str){ at, len }, GRANT));
	ck_assert(opens((struct str){ at, text.len }, GRANT));
}
END_TEST

START_TEST(a_tag_by_each_grant_and_one_will_do)
{
	struct str text = made(&given, GRANT "," OTHER);

	ck_assert(opens(text, GRANT) && opens(text, OTHER));
	ck_assert(!opens(text, "AAECAwQFBgcICQoLDA0OEQ"));
	ck_assert(!opens(made(&given, ""), "")); /* without a tag it is none */
}
END_TEST

START_TEST(lengths_that_lie_are_refused)
{
	static const unsigned char lies[][24] = { { 1, 'd', 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 'r' },
		                                  { 1, 'd', 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 'r', 0xff, 0xff } };
	struct direct_ticket ticket;

	for (size_t i = 0; i < 2; i++)
		for (size_t len = 0; len <= sizeof(lies[i]); len++) {
			struct buf text = { 0 };
			base64url_add(&text, lies[i], len);
			if (text.len)
				ck_assert(!direct_ticket_read((struct str){ text.at, text.len }, &arena, &ticket));
			buf_free(&text);
		}
}
END_TEST

START_TEST(no_holder_is_longer_than_one_is_written)
{
	unsigned char bytes[23 + TICKET_HOLDER_MAX + 1 + 16] = { 1, 'd', [9] = 1, [17] = 1, [19] = 1, 'r' };
	struct direct_ticket ticket;

	for (unsigned more = 0; more < 2; more++) {
		struct buf text = { 0 };
		bytes[22] = (unsigned char)(TICKET_HOLDER_MAX + more);
		base64url_add(&text, bytes, 23 + TICKET_HOLDER_MAX + more + 16);
		ck_assert(direct_ticket_read((struct str){ text.at, text.len }, &arena, &ticket) == !more);
		buf_free(&text);
	}
}
END_TEST

START_TEST(the_longest_fits)
{
	char room[256], holder[300];

	memset(room, 'r', sizeof(room));
	memset(holder, 'h', sizeof(holder));
	struct direct_ticket long_one = { given.ends_ms, given.epoch, { room, sizeof(room) }, { holder, sizeof(holder) }, { 0 }, { 0 } };
	struct str text = made(&long_one, GRANT "," GRANT "," GRANT "," GRANT "," GRANT "," GRANT "," GRANT "," OTHER);
	struct direct_ticket ticket;

	ck_assert_uint_le(text.len, DIRECT_TICKET_TEXT_MAX);
	ck_assert(opens(text, OTHER));
	ck_assert(direct_ticket_read(text, &arena, &ticket));
	ck_assert_uint_eq(ticket.holder.len, TICKET_HOLDER_MAX);
}
END_TEST

START_TEST(a_ticket_of_routers_is_not_one_nor_the_other_way_round)
{
	struct secret_keys keys = { .count = 1, .keys[0].len = strlen(GRANT) };
	struct ticket router = { TICKET_JOIN, given.ends_ms, given.room, given.holder }, read;
	struct buf text = { 0 };
	const char *why;

	memcpy(keys.keys[0].bytes, GRANT, strlen(GRANT));
	ticket_write(&router, &keys, &text);
	ck_assert(!opens((struct str){ text.at, text.len }, GRANT));
	ck_assert(!ticket_read(made(&given, GRANT), TICKET_JOIN, &keys, 0, &arena, &read, &why));
	ck_assert_str_eq(why, "the ticket is for another use");
	buf_free(&text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("direct_ticket");
	TCase *tc = tcase_create("direct_ticket");

	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, it_says_what_was_written);
	tcase_add_test(tc, no_character_can_be_another);
	tcase_add_test(tc, a_tag_by_each_grant_and_one_will_do);
	tcase_add_test(tc, lengths_that_lie_are_refused);
	tcase_add_test(tc, no_holder_is_longer_than_one_is_written);
	tcase_add_test(tc, the_longest_fits);
	tcase_add_test(tc, a_ticket_of_routers_is_not_one_nor_the_other_way_round);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
