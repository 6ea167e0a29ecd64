/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every source goes through the same parser, by rising precedence, and every fault is told with where it stands: a tired
 * operator gets the whole list at once instead of one fault per start. inih calls back for each line. It takes an indented line
 * for more of the value before it, which nobody expects, and cuts long ones: it gets lines without indentation, and none cut.
 */
#include <ctype.h>
#include <ini.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/str.h"

#define NAME_BYTES 160
#define LINE_BYTES 8192

/* Debian's inih lets a program choose; elsewhere a line has what the library was built with. */
extern int ini_max_line __attribute__((weak));

struct loading {
	struct conf *conf;
	FILE *err;
	const char *file;
	int faults, line; /* line: of the file, as read so far */
};

static void fault(struct loading *l, const char *where, const char *name, const char *value, const char *what)
{
	l->faults++;
	fprintf(l->err, "%s: %s", where, name);
	if (value)
		fprintf(l->err, " = %s", value);
	fprintf(l->err, ": %s\n", what);
}

/* "agent.labels.*" covers "agent.labels.zone": the part after the prefix, or NULL. */
static const char *below(const struct conf_key *key, const char *name)
{
	size_t len = strlen(key->name) - 1;

	return key->type == CONF_MAP && !strncmp(key->name, name, len) && name[len] ? name + len : NULL;
}

static const struct conf_key *find_key(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->count; i++)
		if (!strcmp(conf->keys[i].name, name) || below(&conf->keys[i], name))
			return &conf->keys[i];
	return NULL;
}

/* -- one value -------------------------------------------------------------------------------------------------------------- */
static bool parse_bool(const char *text, bool *out)
{
	static const char *const yes[] = { "true", "yes", "on", "1" }, *const no[] = { "false", "no", "off", "0" };

	for (int i = 0; i < 4; i++) {
		if (!strcmp(text, yes[i]))
			return *out = true, true;
		if (!strcmp(text, no[i]))
			return *out = false, true;
	}
	return false;
}

static bool parse_real(const char *text, double *out)
{
	char *end;

	*out = strtod(text, &end);
	return *text && !*end && isfinite(*out) && !isspace((unsigned char)*text);
}

static void replace_text(const char **field, const char *value)
{
	free((void *)(uintptr_t)*field);
	*field = strdup(value);
	if (!*field)
		abort();
}

static void set_pair(struct conf_map *map, const char *key, const char *value)
{
	for (size_t i = 0; i < map->count; i++)
		if (!strcmp(map->pairs[i].key, key)) {
			free(map->pairs[i].value);
			map->pairs[i].value = strdup(value);
			return;
		}
	map->pairs = realloc(map->pairs, (map->count + 1) * sizeof(*map->pairs));
	if (!map->pairs)
		abort();
	map->pairs[map->count++] = (struct conf_pair){ strdup(key), strdup(value) };
}

/* Writes the value, or says what is allowed. */
static const char *set_value(const struct conf_key *key, const char *name, const char *value, void *field)
{
	static _Thread_local char words[256];
	const char *why = "not allowed";
	uint64_t whole;
	double real;

	switch (key->type) {
	case CONF_BOOL:
		return parse_bool(value, field) ? NULL : "must be true or false";
	case CONF_INT:
		if (!parse_u64(str_of(value), &whole) || (double)whole < key->min || (double)whole > key->max) {
			snprintf(words, sizeof(words), "must be a whole number from %.0f to %.0f", key->min, key->max);
			return words;
		}
		*(uint64_t *)field = whole;
		return NULL;
	case CONF_REAL:
		if (!parse_real(value, &real) || real < key->min || real > key->max) {
			snprintf(words, sizeof(words), "must be a number from %g to %g", key->min, key->max);
			return words;
		}
		*(double *)field = real;
		return NULL;
	case CONF_TEXT:
		if (key->check && !key->check(value, &why))
			return why;
		replace_text(field, value);
		return NULL;
	case CONF_WORD:
		snprintf(words, sizeof(words), "must be one of");
		for (int i = 0; key->words[i]; i++) {
			if (!strcmp(key->words[i], value))
				return *(int *)field = i, NULL;
			size_t len = strlen(words);
			snprintf(words + len, sizeof(words) - len, "%s %s", i ? "," : "", key->words[i]);
		}
		return words;
	case CONF_MAP:
		set_pair(field, below(key, name), value);
		return NULL;
	}
	return "of no known type";
}

static void set(struct loading *l, const char *where, const char *name, const char *value)
{
	const struct conf_key *key = find_key(l->conf, name);

	if (!key) {
		fault(l, where, name, NULL, "unknown key");
		return;
	}
	const char *why = set_value(key, name, value, (char *)l->conf->values + key->at);
	if (why) {
		fault(l, where, name, key->secret ? NULL : value, why);
		return;
	}
	char **source = &l->conf->source[key - l->conf->keys];
	free(*source);
	*source = strdup(where);
}

/* -- sources ------------------------------------------------------------------------------------------------------------------ */
static void from_defaults(struct loading *l)
{
	for (size_t i = 0; i < l->conf->count; i++) {
		const struct conf_key *key = &l->conf->keys[i];
		if (key->type != CONF_MAP)
			set(l, "default", key->name, key->def ? key->def : "");
	}
}

/* Debian's inih gives its handler no line number, so we count the lines as it reads them. */
struct ini_text {
	struct loading *loading;
	FILE *file;
};

static void file_fault(struct loading *l, int line, const char *what)
{
	char where[512];

	snprintf(where, sizeof(where), "%s:%d", l->file, line);
	fault(l, where, "this line", NULL, what);
}

/* True: the line went on, and its rest was read away. */
static bool skip_rest(FILE *file)
{
	bool more = false;

	for (int c = getc(file); c != EOF && c != '\n'; c = getc(file))
		more = true;
	return more;
}

static char *counted_line(char *text, int size, void *stream)
{
	struct ini_text *t = stream;

	if (!fgets(text, size, t->file))
		return NULL;
	t->loading->line++;
	if (!strchr(text, '\n') && skip_rest(t->file)) {
		file_fault(t->loading, t->loading->line, "is too long");
		text[0] = '\0';
	}
	size_t blanks = strspn(text, " \t");
	memmove(text, text + blanks, strlen(text + blanks) + 1);
	return text;
}

static int counted_handler(void *arg, const char *section, const char *name, const char *value)
{
	struct loading *l = arg;
	char full[NAME_BYTES], where[512];

	snprintf(full, sizeof(full), "%s%s%s", section, *section ? "." : "", name);
	snprintf(where, sizeof(where), "%s:%d", l->file, l->line);
	set(l, where, full, value ? value : "");
	return 1;
}

static void from_file(struct loading *l)
{
	FILE *file = fopen(l->file, "re");
	struct ini_text text = { l, file };

	if (!file) {
		fault(l, l->file, "cannot be read", NULL, "check path and permissions");
		return;
	}
	if (&ini_max_line)
		ini_max_line = LINE_BYTES;
	int bad = ini_parse_stream(counted_line, &text, counted_handler, l);
	if (bad > 0)
		file_fault(l, bad, "must be [section], key = value, or a comment");
	if (ferror(file)) /* a directory opens, too */
		fault(l, l->file, "cannot be read", NULL, "check that it is a file");
	fclose(file);
}

/* USHER_ + SECTION_KEY; keys of a map cannot be given this way. */
static void from_environment(struct loading *l)
{
	for (size_t i = 0; i < l->conf->count; i++) {
		char name[NAME_BYTES];
		if (l->conf->keys[i].type == CONF_MAP)
			continue;
		snprintf(name, sizeof(name), "%s%s", l->conf->env_prefix, l->conf->keys[i].name);
		for (char *c = name; *c; c++)
			*c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
		const char *value = getenv(name);
		if (value)
			set(l, name, l->conf->keys[i].name, value);
	}
}

static void from_sets(struct loading *l, char *const *sets, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *equals = strchr(sets[i], '=');
		char name[NAME_BYTES];
		if (!equals || equals == sets[i] || (size_t)(equals - sets[i]) >= sizeof(name)) {
			fault(l, "--set", sets[i], NULL, "must be section.key=value");
			continue;
		}
		snprintf(name, sizeof(name), "%.*s", (int)(equals - sets[i]), sets[i]);
		set(l, "--set", name, equals + 1);
	}
}

int conf_load(struct conf *conf, const char *file, char *const *sets, size_t nsets, FILE *err)
{
	struct loading loading = { .conf = conf, .err = err, .file = file };

	conf->source = calloc(conf->count, sizeof(*conf->source));
	if (!conf->source)
		abort();
	from_defaults(&loading);
	if (file)
		from_file(&loading);
	from_environment(&loading);
	from_sets(&loading, sets, nsets);
	return loading.faults;
}

static void free_map(struct conf_map *map)
{
	for (size_t i = 0; i < map->count; i++) {
		free(map->pairs[i].key);
		free(map->pairs[i].value);
	}
	free(map->pairs);
	*map = (struct conf_map){ 0 };
}

void conf_free(struct conf *conf)
{
	for (size_t i = 0; i < conf->count; i++) {
		void *field = (char *)conf->values + conf->keys[i].at;
		if (conf->keys[i].type == CONF_TEXT) {
			free((void *)(uintptr_t) * (const char **)field);
			*(const char **)field = NULL;
		} else if (conf->keys[i].type == CONF_MAP) {
			free_map(field);
		}
		if (conf->source)
			free(conf->source[i]);
	}
	free(conf->source);
	conf->source = NULL;
}

void conf_write(const struct conf_key *key, const void *values, struct buf *out)
{
	const void *field = (const char *)values + key->at;

	switch (key->type) {
	case CONF_BOOL:
		buf_adds(out, *(const bool *)field ? "true" : "false");
		break;
	case CONF_INT:
		buf_printf(out, "%llu", (unsigned long long)*(const uint64_t *)field);
		break;
	case CONF_REAL:
		buf_printf(out, "%g", *(const double *)field);
		break;
	case CONF_TEXT:
		buf_adds(out, *(const char *const *)field);
		break;
	case CONF_WORD:
		buf_adds(out, key->words[*(const int *)field]);
		break;
	case CONF_MAP:
		break;
	}
}

static void print_range(const struct conf_key *key, FILE *out)
{
	if (key->type == CONF_BOOL)
		fputs("true, false", out);
	else if (key->type == CONF_INT)
		fprintf(out, "%.0f to %.0f", key->min, key->max);
	else if (key->type == CONF_REAL)
		fprintf(out, "%g to %g", key->min, key->max);
	else if (key->type == CONF_WORD)
		for (int i = 0; key->words[i]; i++)
			fprintf(out, "%s%s", i ? ", " : "", key->words[i]);
	else
		fputs("text", out);
}

void conf_print_reference(const struct conf_key *keys, size_t count, const char *title, FILE *out)
{
	fprintf(out, "# %s\n\nPrecedence: flag (`--set section.key=value`), environment (`USHER_SECTION_KEY`), file, default.\n\n"
	             "| key | default | range | what, and why this default |\n|---|---|---|---|\n", title);
	for (size_t i = 0; i < count; i++) {
		const char *def = keys[i].def_words ? keys[i].def_words : keys[i].def ? keys[i].def : "none";
		fprintf(out, "| `%s` | %s | ", keys[i].name, def);
		print_range(&keys[i], out);
		fprintf(out, " | %s%s%s |\n", keys[i].help, keys[i].reloadable ? " (reloaded by SIGHUP)" : "",
		        keys[i].shared ? " (the same at all routers)" : "");
	}
}
