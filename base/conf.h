/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration as a table: one entry gives the parser, the check, the environment variable, and the line of the
 * reference page. Sources by rising precedence: default, INI file, environment, --set. The adapter of inih.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct buf;

enum conf_type {
	CONF_BOOL,  /* bool */
	CONF_INT,   /* uint64_t, min..max (ms, bytes, counts: the key's name says which) */
	CONF_REAL,  /* double, min..max */
	CONF_TEXT,  /* const char *, "" when unset */
	CONF_WORD,  /* int: index into words[] */
	CONF_MAP,   /* struct conf_map: every key below this prefix, "agent.labels.*" */
};
struct conf_key {
	const char *name; /* "section.key" or "section.key.*" */
	enum conf_type type;
	size_t at;        /* offset in the struct that holds the values */
	double min, max;
	const char *const *words; /* NULL-terminated */
	const char *def;          /* as one would write it */
	const char *def_words;    /* how the page names the default, where it is not `def` ("number of cores") */
	const char *help;         /* one line: what, and why this default */
	bool secret;              /* never printed */
	bool reloadable;          /* by SIGHUP */
	bool shared;              /* what works together must agree on it; told to the others, so never a secret */
	bool (*check)(const char *value, const char **why); /* CONF_TEXT only */
};
struct conf_pair {
	char *key, *value;
};
struct conf_map {
	struct conf_pair *pairs;
	size_t count;
};
struct conf {
	const struct conf_key *keys;
	size_t count;
	void *values;      /* the typed struct */
	char **source;     /* per key: "default", "usher.ini:12", "USHER_…", "--set" */
	const char *env_prefix; /* "USHER_" ; section "agent" of the agent gives USHER_AGENT_… */
};
/* Fills *values from defaults, then `file` (may be NULL), the environment, then sets ("section.key=value").
 * All faults are written to `err`, one line each (file:line: key: what is wrong, what is allowed). Returns their number. */
int conf_load(struct conf *, const char *file, char *const *sets, size_t nsets, FILE *err);
void conf_free(struct conf *); /* frees what the values point to, not the struct */
void conf_write(const struct conf_key *, const void *values, struct buf *out); /* as one would write it; of a map nothing */
void conf_print_reference(const struct conf_key *keys, size_t count, const char *title, FILE *out); /* Markdown */
/* The typical command line of a daemon. Returns -1 to go on, or the exit code. */
struct conf_cli {
	const char *program, *about; /* about: the text of --help before the options */
	const char *file;
	char **sets;
	size_t nsets;
	bool check;
	const char *print; /* --print WHAT */
};
int conf_cli_parse(struct conf_cli *, int argc, char **argv);
