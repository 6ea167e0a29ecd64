/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel lists listening sockets first, so reading stops at the first that does not listen: on a machine with a hundred
 * thousand connections that is a few lines instead of megabytes. Of several processes that share the socket the oldest counts:
 * workers come and go.
 */
#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/agent/incarnation.h"

#define LISTENING 0x0a
#define START_FIELD 22 /* proc(5), /proc/pid/stat: starttime */

/* -- one process ---------------------------------------------------------------------------------------------------------- */
/* The second field is the program's name in parentheses and may hold blanks and parentheses itself: count from the last one. */
static bool read_start(const char *proc, int pid, uint64_t *started)
{
	char path[300], line[1024] = "";

	snprintf(path, sizeof(path), "%s/%d/stat", proc, pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	char *at = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	fclose(file);
	if (!at || at[1] != ' ' || at[2] == 'Z')
		return false; /* dead, and not yet reaped: no SFU any more */
	for (int field = 2; field < START_FIELD && at; field++)
		at = strchr(at + 1, ' ');
	return at && sscanf(at, " %" SCNu64, started) == 1;
}

bool process_of_pid(const char *proc, int pid, struct process *out)
{
	struct process found = { .pid = pid };

	if (pid <= 0 || !read_start(proc, pid, &found.started))
		return false;
	*out = found;
	return true;
}

/* -- who listens ---------------------------------------------------------------------------------------------------------- */
static uint64_t inode_in(const char *proc, const char *table, uint16_t port)
{
	char path[300], line[512];
	unsigned at, state;
	uint64_t inode, found = 0;

	snprintf(path, sizeof(path), "%s/net/%s", proc, table);
	FILE *file = fopen(path, "re");
	if (!file)
		return 0;
	/* "   0: 0100007F:1F90 00000000:0000 0A …:… …:… … uid timeout inode"; the heading does not match */
	while (fgets(line, sizeof(line), file)) {
		int got = sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %" SCNu64, &at, &state, &inode);
		if (got >= 2 && state != LISTENING)
			break;
		if (got == 3 && at == port && (!found || inode < found))
			found = inode;
	}
	fclose(file);
	return found;
}

static uint64_t listening_inode(const char *proc, uint16_t port)
{
	uint64_t inode = inode_in(proc, "tcp", port);

	return inode ? inode : inode_in(proc, "tcp6", port);
}

static bool holds_socket(const char *proc, int pid, const char *wanted)
{
	char path[300], link[600], target[64];
	bool held = false;

	snprintf(path, sizeof(path), "%s/%d/fd", proc, pid);
	DIR *dir = opendir(path);
	if (!dir)
		return false;
	for (struct dirent *entry; !held && (entry = readdir(dir));) {
		snprintf(link, sizeof(link), "%s/%s", path, entry->d_name);
		ssize_t len = readlink(link, target, sizeof(target) - 1);
		target[len > 0 ? len : 0] = '\0';
		held = !strcmp(target, wanted);
	}
	closedir(dir);
	return held;
}

static bool is_number(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0' && strlen(text) < 10;
}

static void find_owner(const char *proc, struct process *found)
{
	char wanted[64];
	struct process candidate;
	DIR *dir = opendir(proc);

	snprintf(wanted, sizeof(wanted), "socket:[%" PRIu64 "]", found->inode);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		if (!is_number(entry->d_name) || !holds_socket(proc, atoi(entry->d_name), wanted) ||
		    !process_of_pid(proc, atoi(entry->d_name), &candidate))
			continue;
		if (found->pid && found->started <= candidate.started)
			continue;
		found->pid = candidate.pid;
		found->started = candidate.started;
	}
	if (dir)
		closedir(dir);
}

bool process_of_port(const char *proc, uint16_t port, struct process *out)
{
	struct process found = { .port = port, .inode = listening_inode(proc, port) };

	if (!found.inode)
		return false;
	find_owner(proc, &found);
	*out = found;
	return true;
}

bool process_lives(const char *proc, const struct process *process)
{
	uint64_t started;

	if (process->pid)
		return read_start(proc, process->pid, &started) && started == process->started;
	return listening_inode(proc, process->port) == process->inode;
}

/* -- its name ------------------------------------------------------------------------------------------------------------- */
static void read_boot_id(const char *proc, char out[static 37])
{
	char path[300], line[64] = "";

	snprintf(path, sizeof(path), "%s/sys/kernel/random/boot_id", proc);
	FILE *file = fopen(path, "re");
	if (file && !fgets(line, sizeof(line), file))
		line[0] = '\0';
	if (file)
		fclose(file);
	line[strspn(line, "0123456789abcdef-")] = '\0';
	snprintf(out, 37, "%.36s", *line ? line : "boot");
}

void incarnation_of(const char *proc, const struct process *process, char out[static INCARNATION_MAX + 1])
{
	char boot[37];

	read_boot_id(proc, boot);
	if (process->pid)
		snprintf(out, INCARNATION_MAX + 1, "%s.%d.%" PRIu64, boot, process->pid, process->started);
	else
		snprintf(out, INCARNATION_MAX + 1, "%s.socket.%" PRIu64, boot, process->inode);
}
