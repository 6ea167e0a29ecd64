/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a target over files and folders that are named, once each: what libFuzzer's own main does, for compilers that have none.
 * Says so in the words of the unit tests' library, so that it is counted as one test.
 */
#include <dirent.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

static size_t inputs;

__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static void run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct buf text = { 0 };
	char block[4096];
	size_t n;

	if (!file) {
		perror(path);
		exit(1);
	}
	while ((n = fread(block, 1, sizeof(block), file)) > 0)
		buf_add(&text, block, n);
	fclose(file);
	char *copy = copy_of((struct str){ text.at, text.len }, false);
	LLVMFuzzerTestOneInput((const uint8_t *)copy, text.len);
	free(copy);
	buf_free(&text);
	inputs++;
}

static void run_path(const char *path)
{
	struct stat about;

	if (stat(path, &about) < 0 || !S_ISDIR(about.st_mode)) {
		run_file(path);
		return;
	}
	DIR *dir = opendir(path);
	for (const struct dirent *entry; dir && (entry = readdir(dir));) {
		char inside[1024];
		snprintf(inside, sizeof(inside), "%s/%s", path, entry->d_name);
		if (entry->d_name[0] != '.')
			run_path(inside);
	}
	if (dir)
		closedir(dir);
}

int main(int argc, char **argv)
{
	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	printf("%zu inputs\n100%%: Checks: 1, Failures: %d, Errors: 0\n", inputs, inputs == 0);
	return inputs == 0;
}
