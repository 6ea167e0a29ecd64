/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: an INI file, and, in lines that begin with '!', --set. What was taken is written by conf_write() and read
 * again: it is the same.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "router/conf.h"
#include "tests/fuzz/fuzz.h"

#define SETS_MAX 16

static FILE *nowhere;

static int load(struct conf *conf, struct router_conf *values, const char *file, char **sets, size_t n)
{
	*conf = (struct conf){ .keys = router_conf_keys, .count = router_conf_count, .values = values, .env_prefix = "FUZZ_NONE_" };
	return conf_load(conf, file, sets, n, nowhere);
}

static void must_write_itself(const struct router_conf *values)
{
	struct conf again;
	struct router_conf same = { 0 };
	char *sets[128];

	MUST(router_conf_count < 128);
	for (size_t i = 0; i < router_conf_count; i++) {
		struct buf text = { 0 };
		buf_printf(&text, "%s=", router_conf_keys[i].name);
		conf_write(&router_conf_keys[i], values, &text);
		sets[i] = text.at;
	}
	MUST(load(&again, &same, NULL, sets, router_conf_count) == 0);
	for (size_t i = 0; i < router_conf_count; i++) {
		struct buf text = { 0 };
		buf_printf(&text, "%s=", router_conf_keys[i].name);
		conf_write(&router_conf_keys[i], &same, &text);
		MUST(!strcmp(text.at, sets[i]));
		buf_free(&text);
		free(sets[i]);
	}
	conf_free(&again);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	nowhere = fopen("/dev/null", "w");
	return !nowhere;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str rest = { (const char *)bytes, len }, line;
	struct router_conf values = { 0 };
	struct conf conf;
	struct buf file = { 0 };
	char *sets[SETS_MAX], path[64];
	size_t n = 0;
	int fd = memfd_create("conf", MFD_CLOEXEC);

	while (str_cut(&rest, '\n', &line)) {
		if (line.len && line.at[0] == '!' && n < SETS_MAX) {
			sets[n++] = copy_of((struct str){ line.at + 1, line.len - 1 }, true);
			continue;
		}
		buf_add(&file, line.at, line.len);
		buf_adds(&file, "\n");
	}
	MUST(fd >= 0 && write(fd, file.at ? file.at : "", file.len) == (ssize_t)file.len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (load(&conf, &values, path, sets, n) == 0) {
		must_write_itself(&values);
		router_conf_check(&values, nowhere);
	}
	conf_free(&conf);
	close(fd);
	while (n)
		free(sets[--n]);
	buf_free(&file);
	return 0;
}
