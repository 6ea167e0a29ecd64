/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/str.h"

struct settings {
	bool flag;
	uint64_t count, big;
	double real;
	const char *text, *secret, *checked;
	int word;
	struct conf_map labels;
};

static bool even(const char *value, const char **why)
{
	*why = "must have an even length";
	return strlen(value) % 2 == 0;
}

static const char *const words[] = { "red", "green", "blue", NULL };
#define AT(field) offsetof(struct settings, field)
static const struct conf_key keys[] = {
	{ "main.flag", CONF_BOOL, AT(flag), .def = "false", .help = "a flag" },
	{ "main.count", CONF_INT, AT(count), .min = 1, .max = 1000, .def = "10", .help = "a count", .reloadable = true },
	{ "main.big", CONF_INT, AT(big), .min = 0, .max = 1e15, .def = "0", .def_words = "number of cores",
	  .help = "a big one" },
	{ "main.real", CONF_REAL, AT(real), .min = 0, .max = 1, .def = "0.5", .help = "a fraction", .shared = true },
	{ "main.text", CONF_TEXT, AT(text), .help = "a text" },
	{ "main.secret", CONF_TEXT, AT(secret), .def = "", .help = "a secret", .secret = true, .check = even },
	{ "other.checked", CONF_TEXT, AT(checked), .def = "ab", .help = "a checked text", .check = even },
	{ "other.word", CONF_WORD, AT(word), .def = "red", .help = "a word", .words = words },
	{ "other.labels.*", CONF_MAP, AT(labels), .help = "labels" },
};
#define KEYS (sizeof(keys) / sizeof(*keys))

static struct settings settings;
static struct conf conf;
static char file[64], *faults;
static size_t faults_len;

static void setup(void)
{
	memset(&settings, 0, sizeof(settings));
	conf = (struct conf){ .keys = keys, .count = KEYS, .values = &settings, .env_prefix = "USHER_" };
	strcpy(file, "/tmp/test_conf.XXXXXX");
	close(mkstemp(file));
	faults = NULL;
}

static void teardown(void)
{
	conf_free(&conf);
	unlink(file);
	free(faults);
}

static int load(const char *text, const char *set0, const char *set1)
{
	char *sets[2] = { (char *)(uintptr_t)set0, (char *)(uintptr_t)set1 };
	FILE *f = fopen(file, "w"), *err;

	fputs(text, f);
	fclose(f);
	conf_free(&conf);
	free(faults);
	err = open_memstream(&faults, &faults_len);
	int n = conf_load(&conf, file, sets, set0 ? set1 ? 2 : 1 : 0, err);
	fclose(err);
	return n;
}

static const char *source_of(const char *name)
{
	for (size_t i = 0; i < KEYS; i++)
		if (!strcmp(keys[i].name, name))
			return conf.source[i];
	return NULL;
}

START_TEST(defaults_stand_alone)
{
	ck_assert_int_eq(conf_load(&conf, NULL, NULL, 0, stderr), 0);
	ck_assert(!settings.flag && settings.count == 10 && settings.real > 0.49 && settings.real < 0.51 &&
	          settings.word == 0);
	ck_assert_str_eq(settings.text, "");
	ck_assert_str_eq(settings.checked, "ab");
	ck_assert_uint_eq(settings.labels.count, 0);
	ck_assert_str_eq(source_of("main.count"), "default");
}
END_TEST

START_TEST(a_file_is_read)
{
	ck_assert_int_eq(load("\xef\xbb\xbf# a comment\n; another\n\n[main]\nflag = on\ncount=20 ; behind\ntext = a = b; c\n[other]\nword=blue\r\n"
	                      "labels.zone = a\nlabels.rack.row = 7\nlabels.zone = b", NULL, NULL), 0);
	ck_assert(settings.flag && settings.count == 20 && settings.word == 2);
	ck_assert_str_eq(settings.text, "a = b; c");
	ck_assert_uint_eq(settings.labels.count, 2);
	ck_assert_str_eq(settings.labels.pairs[0].key, "zone");
	ck_assert_str_eq(settings.labels.pairs[0].value, "b"); /* the last one counts */
	ck_assert_str_eq(settings.labels.pairs[1].key, "rack.row");
	char where[80];
	snprintf(where, sizeof(where), "%s:6", file);
	ck_assert_str_eq(source_of("main.count"), where);
}
END_TEST

/* inih would take them for more of the value before. */
START_TEST(indented_lines_are_lines)
{
	ck_assert_int_eq(load("[main]\n  text = a\n  count = 20\n\tflag = yes\n  # comment\n  [other]\n  checked = abcd\n", NULL, NULL), 0);
	ck_assert_str_eq(settings.text, "a");
	ck_assert_str_eq(settings.checked, "abcd");
	ck_assert(settings.count == 20 && settings.flag);
}
END_TEST

START_TEST(long_lines_are_whole_or_refused)
{
	static char text[20000], value[9000];

	memset(value, 'v', 4000);
	snprintf(text, sizeof(text), "[main]\ntext = %s\ncount = 20\n", value);
	ck_assert_int_eq(load(text, NULL, NULL), 0);
	ck_assert_str_eq(settings.text, value);
	ck_assert_uint_eq(settings.count, 20);
	memset(value, 'v', 8999);
	snprintf(text, sizeof(text), "[main]\ntext = %s\ncount = 0\n", value);
	ck_assert_int_eq(load(text, NULL, NULL), 2);
	ck_assert(strstr(faults, ":2: this line: is too long") && strstr(faults, ":3: main.count = 0: must be"));
	ck_assert_str_eq(settings.text, "");
}
END_TEST

START_TEST(later_sources_win)
{
	setenv("USHER_MAIN_COUNT", "30", 1);
	setenv("USHER_MAIN_TEXT", "env", 1);
	ck_assert_int_eq(load("[main]\ncount=20\ntext=file\nflag=true\n", "main.count=40", NULL), 0);
	ck_assert_uint_eq(settings.count, 40);
	ck_assert_str_eq(source_of("main.count"), "--set");
	ck_assert_str_eq(settings.text, "env");
	ck_assert_str_eq(source_of("main.text"), "USHER_MAIN_TEXT");
	ck_assert(settings.flag && strstr(source_of("main.flag"), file));
	ck_assert_int_eq(load("", "main.count=40", "main.count=41"), 0);
	ck_assert_uint_eq(settings.count, 41);
	ck_assert_int_eq(load("", "main.text=a=b", "other.labels.x=1"), 0);
	ck_assert_str_eq(settings.text, "a=b");
	ck_assert_str_eq(settings.labels.pairs[0].value, "1");
	unsetenv("USHER_MAIN_COUNT");
	unsetenv("USHER_MAIN_TEXT");
}
END_TEST

static const struct {
	const char *text, *fault;
} wrong[] = {
	{ "[main]\nnope = 1\n", ":2: main.nope: unknown key" }, { "count = 1\n", ":1: count: unknown key" },
	{ "[Main]\ncount = 1\n", ":2: Main.count: unknown key" },
	{ "[other]\nlabels = 1\n", ":2: other.labels: unknown key" },
	{ "[other]\nlabels. = 1\n", ":2: other.labels.: unknown key" },
	{ "[main]\ncount = 0\n", ":2: main.count = 0: must be a whole number from 1 to 1000" },
	{ "[main]\ncount = 1001\n", "must be a whole number" },
	{ "[main]\ncount = 1.5\n", "must be a whole number" }, { "[main]\ncount = 1s\n", "must be a whole number" },
	{ "[main]\ncount = -1\n", "must be a whole number" },
	{ "[main]\ncount =\n", ":2: main.count = : must be a whole number" },
	{ "[main]\ncount = 99999999999999999999\n", "must be a whole number" },
	{ "[main]\nreal = 1.1\n", ":2: main.real = 1.1: must be a number from 0 to 1" },
	{ "[main]\nreal = nan\n", "must be a number" },
	{ "[main]\nreal = inf\n", "must be a number" }, { "[main]\nreal = 0.5x\n", "must be a number" },
	{ "[main]\nreal =\n", "must be a number" },
	{ "[main]\nflag = maybe\n", ":2: main.flag = maybe: must be true or false" },
	{ "[main]\nflag = TRUE\n", "must be true or false" },
	{ "[other]\nword = pink\n", ":2: other.word = pink: must be one of red, green, blue" },
	{ "[other]\nchecked = abc\n", "other.checked = abc: must have an even length" },
	{ "[main]\nsecret = hush!\n", ":2: main.secret: must have" },
	{ "[main\ncount = 5\n", ":1: this line: must be [section]" }, { "[main]\n\nwords\n", ":3: this line: must be" },
};

START_TEST(faults_say_where_and_what)
{
	ck_assert_msg(load(wrong[_i].text, NULL, NULL) >= 1, "%s", wrong[_i].text);
	ck_assert_msg(strstr(faults, wrong[_i].fault) != NULL, "%s: %s", wrong[_i].text, faults);
	ck_assert_ptr_null(strstr(faults, "hush!")); /* secrets are not told */
	ck_assert_msg(!strncmp(faults, file, strlen(file)), "%s", faults);
	if (strstr(faults, "main.count"))
		ck_assert_uint_eq(settings.count, 10); /* the value before stays */
}
END_TEST

START_TEST(all_faults_are_told_at_once)
{
	setenv("USHER_MAIN_REAL", "2", 1);
	ck_assert_int_eq(load("[main]\ncount=0\nnope=1\n", "main.flag=maybe", "nonsense"), 5);
	ck_assert(strstr(faults, "USHER_MAIN_REAL: main.real = 2: ") && strstr(faults, "--set: main.flag = maybe: ") &&
	          strstr(faults, "--set: nonsense: must be section.key=value"));
	unsetenv("USHER_MAIN_REAL");
	ck_assert_int_eq(load("", "=1", "main.nope=1"), 2);
	ck_assert_ptr_nonnull(strstr(faults, "--set: main.nope: unknown key"));
}
END_TEST

START_TEST(what_is_no_file_is_a_fault)
{
	FILE *err = open_memstream(&faults, &faults_len);

	ck_assert_int_eq(conf_load(&conf, "/nowhere/usher.ini", NULL, 0, err), 1);
	conf_free(&conf);
	ck_assert_int_eq(conf_load(&conf, "/tmp", NULL, 0, err), 1);
	fclose(err);
	ck_assert(strstr(faults, "/nowhere/usher.ini: cannot be read") && strstr(faults, "/tmp: cannot be read"));
}
END_TEST

START_TEST(the_reference_is_printed_from_the_table)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	conf_print_reference(keys, KEYS, "Settings", out);
	fclose(out);
	ck_assert_int_eq(strncmp(text, "# Settings\n", 11), 0);
	ck_assert_ptr_nonnull(strstr(text, "| `main.count` | 10 | 1 to 1000 | a count (reloaded by SIGHUP) |\n"));
	ck_assert_ptr_nonnull(strstr(text, "| `main.big` | number of cores | 0 to 1000000000000000 | a big one |\n"));
	ck_assert_ptr_nonnull(strstr(text, "| `main.real` | 0.5 | 0 to 1 | a fraction (the same at all routers) |\n"));
	ck_assert_ptr_nonnull(strstr(text, "| `main.text` | none | text | a text |\n"));
	ck_assert_ptr_nonnull(strstr(text, "| `other.word` | red | red, green, blue | a word |\n"));
	free(text);
}
END_TEST

START_TEST(a_value_is_written_as_it_would_be_set)
{
	struct buf out = { 0 };

	ck_assert_int_eq(load("[main]\nflag = on\ncount = 20\nreal = 0.25\ntext = a b\n[other]\nword = blue\n", NULL, NULL), 0);
	for (size_t i = 0; i < KEYS; i++) {
		conf_write(&keys[i], &settings, &out);
		buf_adds(&out, ";");
	}
	ck_assert_str_eq(out.at, "true;20;0;0.25;a b;;ab;blue;;");
	buf_free(&out);
}
END_TEST

/* -- the command line ---------------------------------------------------------------------------------------------------- */
static int parse(struct conf_cli *cli, const char *a, const char *b, const char *c, const char *d)
{
	const char *argv[] = { "usherd", a, b, c, d, NULL };
	int argc = 1;

	while (argv[argc])
		argc++;
	*cli = (struct conf_cli){ .program = "usherd", .about = "usherd" };
	optind = 0; /* anew, as GNU has it */
	opterr = 0;
	return conf_cli_parse(cli, argc, (char **)(uintptr_t)argv);
}

START_TEST(options_are_taken)
{
	struct conf_cli cli;

	ck_assert_int_eq(parse(&cli, NULL, NULL, NULL, NULL), -1);
	ck_assert(!cli.file && !cli.nsets && !cli.check && !cli.print);
	free(cli.sets);
	ck_assert_int_eq(parse(&cli, "-c", "f.ini", "--set", "a.b=c"), -1);
	ck_assert_str_eq(cli.file, "f.ini");
	ck_assert(cli.nsets == 1 && !strcmp(cli.sets[0], "a.b=c"));
	free(cli.sets);
	ck_assert_int_eq(parse(&cli, "--set=a.b=1", "--set", "a.b=2", "--check"), -1);
	ck_assert(cli.nsets == 2 && cli.check && !strcmp(cli.sets[1], "a.b=2"));
	free(cli.sets);
	ck_assert_int_eq(parse(&cli, "--print", "config", NULL, NULL), -1);
	ck_assert_str_eq(cli.print, "config");
	free(cli.sets);
}
END_TEST

START_TEST(options_that_end_it)
{
	static const struct {
		const char *a, *b;
		int code;
	} ends[] = { { "--help", NULL, 0 }, { "-h", NULL, 0 }, { "--version", NULL, 0 }, { "--nope", NULL, 2 },
	             { "-c", NULL, 2 }, { "extra", NULL, 2 }, { "--check", "extra", 2 } };

	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stdout));
	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
	struct conf_cli cli;
	ck_assert_int_eq(parse(&cli, ends[_i].a, ends[_i].b, NULL, NULL), ends[_i].code);
	free(cli.sets);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("conf");
	TCase *t = tcase_create("conf");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, defaults_stand_alone);
	tcase_add_test(t, a_file_is_read);
	tcase_add_test(t, indented_lines_are_lines);
	tcase_add_test(t, long_lines_are_whole_or_refused);
	tcase_add_test(t, later_sources_win);
	tcase_add_loop_test(t, faults_say_where_and_what, 0, (int)(sizeof(wrong) / sizeof(*wrong)));
	tcase_add_test(t, all_faults_are_told_at_once);
	tcase_add_test(t, what_is_no_file_is_a_fault);
	tcase_add_test(t, the_reference_is_printed_from_the_table);
	tcase_add_test(t, a_value_is_written_as_it_would_be_set);
	tcase_add_test(t, options_are_taken);
	tcase_add_loop_test(t, options_that_end_it, 0, 7);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
