/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals as callbacks, and child processes. libuv reaps only children whose handle is open: that of a forgotten child
 * stays until it has exited, and holds nobody up meanwhile.
 */
#include <stdlib.h>

#include "base/loop_uv.h"

struct loop_signal {
	uv_signal_t signal;
	struct loop_signal *next;
	void (*fn)(void *arg, int signum);
	void *arg;
};

static void signalled(uv_signal_t *signal, int signum)
{
	struct loop_signal *s = signal->data;

	s->fn(s->arg, signum);
}

void loop_on_signal(struct loop *loop, int signum, void (*fn)(void *arg, int signum), void *arg)
{
	struct loop_signal *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->fn = fn;
	s->arg = arg;
	s->next = loop->signals;
	loop->signals = s;
	uv_signal_init(&loop->uv, &s->signal);
	s->signal.data = s;
	uv_signal_start(&s->signal, signalled, signum);
}

void loop_free_signals(struct loop *loop)
{
	for (struct loop_signal *s = loop->signals, *next; s; s = next) {
		next = s->next;
		uv_close((uv_handle_t *)&s->signal, loop_close_handle);
	}
	loop->signals = NULL;
}

struct child {
	uv_process_t process;
	void (*exited)(void *arg, int status);
	void *arg;
	bool over, forgotten;
};

static void child_exited(uv_process_t *process, int64_t status, int signum)
{
	struct child *child = process->data;

	child->over = true;
	if (child->forgotten)
		uv_close((uv_handle_t *)process, loop_close_handle);
	else if (child->exited)
		child->exited(child->arg, signum ? 128 + signum : (int)status);
}

struct child *child_start(struct loop *loop, char *const argv[], void (*exited)(void *arg, int status), void *arg)
{
	struct child *child = calloc(1, sizeof(*child));
	uv_stdio_container_t stdio[3] = { { .flags = UV_IGNORE },
		                          { .flags = UV_INHERIT_FD, .data.fd = 1 },
		                          { .flags = UV_INHERIT_FD, .data.fd = 2 } };
	uv_process_options_t options = { .exit_cb = child_exited, .file = argv[0], .stdio_count = 3, .stdio = stdio };

	if (!child)
		abort();
	child->exited = exited;
	child->arg = arg;
	child->process.data = child;
	options.args = (char **)(uintptr_t)argv;
	if (uv_spawn(&loop->uv, &child->process, &options) < 0) {
		uv_close((uv_handle_t *)&child->process, loop_close_handle);
		return NULL;
	}
	return child;
}

int child_pid(const struct child *child)
{
	return uv_process_get_pid(&child->process);
}

void child_signal(struct child *child, int signum)
{
	if (!child->over) /* its number may be another's by now */
		uv_process_kill(&child->process, signum);
}

void child_free(struct child *child)
{
	if (!child)
		return;
	child->forgotten = true;
	if (child->over)
		uv_close((uv_handle_t *)&child->process, loop_close_handle);
	else
		uv_unref((uv_handle_t *)&child->process);
}

static void close_process(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (handle->type == UV_PROCESS && !uv_is_closing(handle))
		uv_close(handle, loop_close_handle);
}

void loop_free_children(struct loop *loop)
{
	uv_walk(&loop->uv, close_process, NULL);
}
