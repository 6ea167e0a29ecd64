/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a process is told by the kernel (a pidfd, which works for children and strangers alike); where that cannot be had
 * the look at each second finds it. An agent's own child is adopted the same way as a found one, so the two differ only in
 * who may kill and who must start.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "base/url.h"
#include "base/wait.h"
#include "client/agent/adapter.h"
#include "client/agent/conf.h"
#include "client/agent/incarnation.h"
#include "client/agent/sfu.h"

#define CHECK_MS 1000
#define LOOK_MS 100             /* while there is none */
#define RESTART_FIRST_MS 500    /* doubled with each quick end, to RESTART_MOST_MS */
#define RESTART_MOST_MS 30000
#define STEADY_MS 10000         /* one that lived so long was no quick end */
#define STOP_MS 5000            /* from TERM to KILL */

const char *const sfu_state_words[] = { "absent", "up", "sick" };

struct sfu {
	struct sfu_conf conf;
	enum sfu_state state;
	bool known;             /* `process` is what we watch */
	struct process process;
	char incarnation[INCARNATION_MAX + 1];
	int pidfd;
	struct watch *pidfd_watch;
	struct child *child;
	uint64_t started_ms, start_after_ms, restart_ms;
	struct timer tick, stop_timer;
	struct wait check;
	bool well;
	uint64_t failing_since_ms; /* 0: not failing */
	bool stopping;
	void (*stopped)(void *arg);
};

static void tick(struct timer *);

static uint64_t now(const struct sfu *sfu)
{
	return loop_now_ms(sfu->conf.loop);
}

static void set_state(struct sfu *sfu, enum sfu_state state, const char *why)
{
	enum sfu_state before = sfu->state;

	if (before == state)
		return;
	sfu->state = state;
	log_line(state == SFU_UP ? LOG_INFO : LOG_WARN, "sfu_state", "from", LOG_S(sfu_state_words[before]), "to",
	         LOG_S(sfu_state_words[state]), "why", LOG_S(why), "incarnation", LOG_S(sfu->incarnation), NULL);
	if (!sfu->stopping)
		sfu->conf.changed(sfu->conf.arg, state);
}

/* -- its end ------------------------------------------------------------------------------------------------------------------- */
static void unwatch(struct sfu *sfu)
{
	watch_free(sfu->pidfd_watch);
	sfu->pidfd_watch = NULL;
	if (sfu->pidfd >= 0)
		close(sfu->pidfd);
	sfu->pidfd = -1;
}

static void report_stopped(struct sfu *sfu)
{
	void (*stopped)(void *) = sfu->stopped;

	timer_clear(sfu->conf.loop, &sfu->stop_timer);
	sfu->stopped = NULL;
	if (stopped)
		stopped(sfu->conf.arg);
}

static void ended(struct sfu *sfu)
{
	if (!sfu->known)
		return;
	sfu->known = sfu->well = false;
	sfu->failing_since_ms = 0;
	unwatch(sfu);
	wait_drop(&sfu->check);
	set_state(sfu, SFU_ABSENT, "the process has ended");
	if (sfu->stopping)
		report_stopped(sfu);
	else
		timer_set(sfu->conf.loop, &sfu->tick, 0, tick);
}

static void pidfd_ready(void *arg, int events)
{
	(void)events;
	ended(arg);
}

static void watch_process(struct sfu *sfu)
{
	sfu->pidfd = sfu->process.pid ? (int)syscall(SYS_pidfd_open, sfu->process.pid, 0) : -1;
	if (sfu->pidfd >= 0)
		sfu->pidfd_watch = watch_new(sfu->conf.loop, sfu->pidfd, LOOP_READ, pidfd_ready, sfu);
}

/* -- its beginning ---------------------------------------------------------------------------------------------------------------- */
static void child_exited(void *arg, int status)
{
	struct sfu *sfu = arg;

	log_warn("sfu_exited", "status", LOG_U((uint64_t)status), "lived_ms", LOG_U(now(sfu) - sfu->started_ms));
	if (now(sfu) - sfu->started_ms >= STEADY_MS)
		sfu->restart_ms = 0;
	sfu->restart_ms = !sfu->restart_ms ? RESTART_FIRST_MS : sfu->restart_ms * 2 < RESTART_MOST_MS ? sfu->restart_ms * 2 : RESTART_MOST_MS;
	sfu->start_after_ms = now(sfu) + sfu->restart_ms;
	child_free(sfu->child);
	sfu->child = NULL;
	ended(sfu);
}

static void start_child(struct sfu *sfu)
{
	struct buf command = { 0 };

	buf_printf(&command, "exec %s", sfu->conf.settings->command); /* so that the pid is the SFU's, not a shell's */
	char *argv[] = { "/bin/sh", "-c", command.at, NULL };
	sfu->started_ms = now(sfu);
	sfu->child = child_start(sfu->conf.loop, argv, child_exited, sfu);
	buf_free(&command);
	if (sfu->child)
		log_info("sfu_started", "pid", LOG_U((uint64_t)child_pid(sfu->child)));
	else
		log_error("sfu_not_started", "why", LOG_S("out of processes or descriptors"));
	sfu->start_after_ms = now(sfu) + RESTART_FIRST_MS;
}

static uint16_t port_of(const struct sfu *sfu)
{
	struct url url;

	return url_parse(sfu->conf.adapter->ops->signal_url(sfu->conf.adapter), &url, NULL) ? url.port : 0;
}

static bool find_process(struct sfu *sfu)
{
	const char *proc = sfu->conf.proc;

	if (sfu->conf.adapter->ops->embedded)
		return process_of_pid(proc, (int)getpid(), &sfu->process);
	if (sfu->child)
		return process_of_pid(proc, child_pid(sfu->child), &sfu->process);
	return process_of_port(proc, port_of(sfu), &sfu->process);
}

static void look(struct sfu *sfu)
{
	if (find_process(sfu)) {
		sfu->known = true;
		incarnation_of(sfu->conf.proc, &sfu->process, sfu->incarnation);
		log_info("sfu_found", "pid", LOG_I(sfu->process.pid), "incarnation", LOG_S(sfu->incarnation));
		watch_process(sfu);
	} else if (*sfu->conf.settings->command && !sfu->child && now(sfu) >= sfu->start_after_ms) {
		start_child(sfu);
	}
}

/* -- its health ------------------------------------------------------------------------------------------------------------------- */
/* A sick SFU of ours is ended, so that it begins anew; another's is left, with the gate closed. */
static void kill_ours(struct sfu *sfu, int signum)
{
	if (sfu->child)
		child_signal(sfu->child, signum);
	else if (*sfu->conf.settings->command && sfu->known && sfu->process.pid)
		kill(sfu->process.pid, signum); /* one that an agent before us started */
}

static void failed(struct sfu *sfu, int err)
{
	sfu->well = false;
	if (!sfu->failing_since_ms) {
		sfu->failing_since_ms = now(sfu);
		log_warn("sfu_check_failed", "why", LOG_S(error_info(err)->slug));
	}
	if (sfu->state != SFU_UP || now(sfu) - sfu->failing_since_ms < sfu->conf.settings->sick_ms)
		return;
	set_state(sfu, SFU_SICK, "its check fails");
	kill_ours(sfu, SIGKILL);
}

static void checked(struct sfu *sfu, int err)
{
	if (err && sfu->state == SFU_ABSENT) {
		timer_set(sfu->conf.loop, &sfu->tick, LOOK_MS, tick); /* still starting */
		return;
	}
	timer_set(sfu->conf.loop, &sfu->tick, CHECK_MS, tick);
	if (err) {
		failed(sfu, err);
		return;
	}
	sfu->failing_since_ms = 0;
	sfu->well = true;
	set_state(sfu, SFU_UP, "its check is good");
}

static void check_answered(struct wait *w, int err)
{
	checked(container_of(w, struct sfu, check), err);
}

static void tick(struct timer *t)
{
	struct sfu *sfu = container_of(t, struct sfu, tick);
	struct adapter *adapter = sfu->conf.adapter;

	timer_set(sfu->conf.loop, t, sfu->known ? CHECK_MS : LOOK_MS, tick);
	if (sfu->known && !process_lives(sfu->conf.proc, &sfu->process)) {
		ended(sfu);
		return;
	}
	if (!sfu->known)
		look(sfu);
	if (!sfu->known || sfu->check.op)
		return;
	sfu->check.wake = check_answered;
	int err = adapter->ops->health(adapter, &sfu->check);
	if (err != WAIT)
		checked(sfu, err);
}

/* -- life ----------------------------------------------------------------------------------------------------------------------------- */
struct sfu *sfu_new(const struct sfu_conf *conf)
{
	struct sfu *sfu = calloc(1, sizeof(*sfu));

	if (!sfu)
		abort();
	sfu->conf = *conf;
	sfu->pidfd = -1;
	timer_set(conf->loop, &sfu->tick, 0, tick);
	return sfu;
}

enum sfu_state sfu_state(const struct sfu *sfu)
{
	return sfu->state;
}

const char *sfu_incarnation(const struct sfu *sfu)
{
	return sfu->incarnation;
}

bool sfu_well(const struct sfu *sfu)
{
	return sfu->state == SFU_UP && sfu->well;
}

static void stop_overdue(struct timer *t)
{
	struct sfu *sfu = container_of(t, struct sfu, stop_timer);

	kill_ours(sfu, SIGKILL);
	if (!sfu->child)
		report_stopped(sfu);
}

void sfu_stop(struct sfu *sfu, void (*done)(void *arg))
{
	bool ours = sfu->child || (*sfu->conf.settings->command && sfu->known && sfu->process.pid);

	sfu->stopping = true;
	sfu->stopped = done;
	timer_clear(sfu->conf.loop, &sfu->tick);
	wait_drop(&sfu->check);
	if (!ours) {
		report_stopped(sfu);
		return;
	}
	kill_ours(sfu, SIGTERM);
	timer_set(sfu->conf.loop, &sfu->stop_timer, STOP_MS, stop_overdue);
}

void sfu_free(struct sfu *sfu)
{
	if (!sfu)
		return;
	timer_clear(sfu->conf.loop, &sfu->tick);
	timer_clear(sfu->conf.loop, &sfu->stop_timer);
	wait_drop(&sfu->check);
	unwatch(sfu);
	child_free(sfu->child);
	free(sfu);
}
