/* SPDX-License-Identifier: Apache-2.0 */
/* A /proc of the test's own, in a directory that goes away with it. */
#pragma once

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char fake_proc[64];

static inline void fake_proc_make(void)
{
	strcpy(fake_proc, "/tmp/usher-test-proc.XXXXXX");
	if (!mkdtemp(fake_proc))
		abort();
}

/* Directories on the way are made. */
static inline void fake_proc_path(const char *name, char out[static 256])
{
	snprintf(out, 256, "%s/%s", fake_proc, name);
	for (char *slash = strchr(out + strlen(fake_proc) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(out, 0700);
		*slash = '/';
	}
}

static inline void fake_proc_write(const char *name, const char *text)
{
	char path[256];

	fake_proc_path(name, path);
	FILE *file = fopen(path, "we");
	if (!file || fputs(text, file) < 0)
		abort();
	fclose(file);
}

static inline void fake_proc_link(const char *name, const char *target)
{
	char path[256];

	fake_proc_path(name, path);
	if (symlink(target, path))
		abort();
}

static inline int fake_proc_drop(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static inline void fake_proc_remove(const char *name)
{
	char path[256];

	fake_proc_path(name, path);
	nftw(path, fake_proc_drop, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void fake_proc_end(void)
{
	nftw(fake_proc, fake_proc_drop, 16, FTW_DEPTH | FTW_PHYS);
}
