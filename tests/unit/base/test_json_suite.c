/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSONTestSuite: every n_ document is refused, as it is and as the value of a member; every y_ one is accepted as the value of a
 * member, and where it is no object refused for that alone. Of the i_ ones each has its outcome here.
 */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"

#define SYNTAX "not valid JSON"
enum outcome { ACCEPTED, FOR_TYPE, FOR_SYNTAX, FOR_LIMIT };

static const struct {
	const char *name;
	enum outcome outcome;
} choices[] = {
	{ "i_number_", FOR_TYPE },                      /* numbers are doubles; whoever wants one looks at its range */
	{ "i_object_key_lone_2nd_surrogate", FOR_SYNTAX }, /* what is no UTF-8 and would make none, */
	{ "i_string_", FOR_SYNTAX },
	{ "i_structure_500_nested_arrays", FOR_LIMIT },
	{ "i_structure_UTF-8_BOM_empty_object", ACCEPTED }, /* as RFC 8259, 8.1 allows */
};
static const char *const limits[] = { "y_string_null_escape", "y_object_escaped_null_in_key", NULL }; /* U+0000 ends our strings */

static struct arena arena;
static const char *fault;

static void teardown(void)
{
	arena_reset(&arena);
}

static enum outcome read_as(const char *before, struct str text, const char *after)
{
	static const struct json_shape any = { NULL, 0, sizeof(char) };
	struct buf all = { 0 };
	char nothing = 0;

	buf_adds(&all, before);
	buf_add(&all, text.at, text.len);
	buf_adds(&all, after);
	fault = "";
	int err = json_read((struct str){ all.at, all.len }, &any, &arena, &nothing, &fault);
	buf_free(&all);
	if (!err)
		return ACCEPTED;
	return !strncmp(fault, SYNTAX, strlen(SYNTAX)) ? FOR_SYNTAX : strstr(fault, "must be an object") ? FOR_TYPE : FOR_LIMIT;
}

static enum outcome chosen(const char *name)
{
	for (size_t i = 0; i < sizeof(choices) / sizeof(*choices); i++)
		if (!strncmp(name, choices[i].name, strlen(choices[i].name)))
			return choices[i].outcome;
	ck_abort_msg("%s has no outcome here", name);
}

static bool is_limited(const char *name)
{
	bool found = false;

	for (size_t i = 0; limits[i]; i++)
		found = found || !strncmp(name, limits[i], strlen(limits[i]));
	return found;
}

static void judge(const char *name, struct str text)
{
	enum outcome alone = read_as("", text, ""), within = read_as("{\"x\":", text, "}");
	bool object = text.len && text.at[0] == '{';

	if (name[0] == 'n') {
		ck_assert_msg(alone != ACCEPTED && alone != FOR_TYPE, "%s is accepted (%s)", name, fault);
		ck_assert_msg(within != ACCEPTED && within != FOR_TYPE, "%s is accepted within an object (%s)", name, fault);
	} else if (name[0] == 'y') {
		ck_assert_msg(within == (is_limited(name) ? FOR_LIMIT : ACCEPTED), "%s: %s", name, fault);
		ck_assert_msg(alone == (is_limited(name) ? FOR_LIMIT : object ? ACCEPTED : FOR_TYPE), "%s: %s", name, fault);
	} else {
		ck_assert_msg(alone == chosen(name), "%s: %d %s", name, alone, fault);
	}
}

static struct str read_file(const char *folder, const char *name)
{
	char path[600];
	struct buf text = { 0 };
	char bytes[4096];
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "rb");
	ck_assert_msg(file != NULL, "%s", path);
	while ((n = fread(bytes, 1, sizeof(bytes), file)) > 0)
		buf_add(&text, bytes, n);
	fclose(file);
	struct str kept = { arena_copy(&arena, text.at ? text.at : "", text.len), text.len };
	buf_free(&text);
	return kept;
}

START_TEST(every_document_of_the_suite)
{
	const char *folder = getenv("JSON_SUITE");
	size_t seen[256] = { 0 };

	ck_assert_msg(folder != NULL, "JSON_SUITE is the folder of the documents");
	DIR *dir = opendir(folder);
	ck_assert_ptr_nonnull(dir);
	for (const struct dirent *entry; (entry = readdir(dir));) {
		if (!strstr(entry->d_name, ".json"))
			continue;
		judge(entry->d_name, read_file(folder, entry->d_name));
		seen[(unsigned char)entry->d_name[0]]++;
	}
	closedir(dir);
	ck_assert_uint_eq(seen['y'], 95);
	ck_assert_uint_eq(seen['n'], 192);
	ck_assert_uint_eq(seen['i'], 35);
}
END_TEST

START_TEST(the_long_ones)
{
	struct buf arrays = { 0 }, objects = { 0 };

	for (int i = 0; i < 100000; i++)
		buf_adds(&arrays, "[");
	for (int i = 0; i < 50000; i++)
		buf_adds(&objects, "[{\"\":");
	judge("n_structure_100000_opening_arrays", (struct str){ arrays.at, arrays.len });
	judge("n_structure_open_array_object", (struct str){ objects.at, objects.len });
	buf_free(&arrays);
	buf_free(&objects);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("json_suite");
	TCase *c = tcase_create("all");

	tcase_add_checked_fixture(c, NULL, teardown);
	tcase_add_test(c, every_document_of_the_suite);
	tcase_add_test(c, the_long_ones);
	suite_add_tcase(s, c);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
