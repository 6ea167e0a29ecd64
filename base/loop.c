/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libuv's loop, with our own heap of timers (embedded in their owners, so that setting one allocates nothing and a fake
 * clock can own them) and messages through one lock-free stack a loop: posting is a compare-and-swap and a bell. That is
 * a descriptor of our own: who is woken by uv_async_send() spins until the sender is out of it, and on one core the
 * sender cannot get out before the woken one sleeps. Who posts in a turn of its own loop rings once, at the end of it: on
 * one core each ring is a change of threads and back, and there may be a message for each request of the turn.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/loop_uv.h"
#include "base/wait.h"

/* -- later --------------------------------------------------------------------------------------------------------- */
static void stay_awake(uv_idle_t *idle)
{
	(void)idle;
}

static void may_sleep(struct loop *loop)
{
	if (!loop->later && !loop->rung)
		uv_idle_stop(&loop->awake);
}

void loop_later(struct loop *loop, struct later *later, void (*run)(struct later *))
{
	if (later->queued)
		return;
	*later = (struct later){ .queued = true, .run = run, .ran_in = later->ran_in };
	*loop->last_later = later;
	loop->last_later = &later->next;
	uv_idle_start(&loop->awake, stay_awake);
}

static void unlink_later(struct loop *loop, struct later **at)
{
	struct later *later = *at;

	*at = later->next;
	if (loop->last_later == &later->next)
		loop->last_later = at;
	later->next = NULL;
	later->queued = false;
}

void loop_later_drop(struct loop *loop, struct later *later)
{
	struct later **at = &loop->later;

	if (!later->queued)
		return;
	while (*at != later)
		at = &(*at)->next;
	unlink_later(loop, at);
}

/* The first that has not run in this turn; else the end of the list. */
static struct later **next_later(struct loop *loop)
{
	struct later **at = &loop->later;

	while (*at && (*at)->ran_in == loop->turn)
		at = &(*at)->next;
	return at;
}

/* Each once, also what they queue: a command that a request asks for goes out in the turn of the request. Who goes on and on must let
 * descriptors have their chance between. */
static void run_later(struct loop *loop)
{
	struct later **at;

	loop->turn++;
	while (*(at = next_later(loop))) {
		struct later *later = *at;
		unlink_later(loop, at);
		later->ran_in = loop->turn;
		later->run(later);
	}
	may_sleep(loop);
}

/* -- messages ------------------------------------------------------------------------------------------------------ */
#define SOON_MS 5 /* a busy worker then has some hundred messages together, and nobody sees the delay */

static _Thread_local struct loop *turning; /* whose turn this thread is in; NULL: none's */

static bool noted(const struct loop *from, const struct loop *to)
{
	for (size_t i = 0; i < from->nunrung; i++)
		if (from->unrung[i] == to)
			return true;
	return false;
}

void loop_ring(struct loop *to)
{
	eventfd_write(to->bell_fd, 1);
}

/* Whoever posts rings, though the first message may be another's, whose turn may take long. */
static void ring(struct loop *to)
{
	if (turning && noted(turning, to))
		return;
	if (turning && turning->nunrung < UNRUNG_MAX)
		turning->unrung[turning->nunrung++] = to;
	else
		loop_ring(to);
}

static void ring_all(struct loop *loop)
{
	while (loop->nunrung) {
		struct loop *to = loop->unrung[--loop->nunrung];
		loop_ring(to);
		if (loop->soon_to == to) {
			loop->soon_to = NULL;
			timer_clear(loop, &loop->soon);
		}
	}
}

static void ring_soon(struct timer *timer)
{
	struct loop *loop = container_of(timer, struct loop, soon), *to = loop->soon_to;

	loop->soon_to = NULL;
	if (to)
		loop_ring(to);
}

static void push(struct loop *to, struct task *task, void (*run)(struct task *))
{
	task->run = run;
	struct task *head = atomic_load_explicit(&to->posted, memory_order_relaxed);
	do {
		task->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&to->posted, &head, task, memory_order_release,
	                                                memory_order_relaxed));
}

void loop_post(struct loop *to, struct task *task, void (*run)(struct task *))
{
	push(to, task, run);
	ring(to);
}

void loop_post_soon(struct loop *to, struct task *task, void (*run)(struct task *))
{
	push(to, task, run);
	if (!turning || turning == to || (turning->soon_to && turning->soon_to != to)) {
		ring(to);
	} else if (!turning->soon_to && !noted(turning, to)) {
		turning->soon_to = to;
		timer_set(turning, &turning->soon, SOON_MS, ring_soon);
	}
}

static void take_messages(uv_poll_t *bell, int status, int events)
{
	struct loop *loop = bell->data;
	eventfd_t rung;

	(void)status;
	(void)events;
	eventfd_read(loop->bell_fd, &rung);
	struct task *task = atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire), *in_order = NULL;

	while (task) {
		struct task *next = task->next;
		task->next = in_order;
		in_order = task;
		task = next;
	}
	while (in_order) {
		task = in_order;
		in_order = task->next;
		task->run(task);
	}
	ring_all(loop); /* answers to these do not wait for what else this turn has to do */
}

/* -- timers -------------------------------------------------------------------------------------------------------- */
static void put_at(struct loop *loop, size_t at, struct due due)
{
	loop->heap[at] = due;
	due.timer->slot = at + 1;
}

static void sift_up(struct loop *loop, size_t at, struct due due)
{
	while (at && loop->heap[(at - 1) / 2].ms > due.ms) {
		put_at(loop, at, loop->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	put_at(loop, at, due);
}

static void sift_down(struct loop *loop, size_t at, struct due due)
{
	for (size_t child; (child = 2 * at + 1) < loop->ntimers; at = child) {
		if (child + 1 < loop->ntimers && loop->heap[child + 1].ms < loop->heap[child].ms)
			child++;
		if (loop->heap[child].ms >= due.ms)
			break;
		put_at(loop, at, loop->heap[child]);
	}
	put_at(loop, at, due);
}

static void remove_timer(struct loop *loop, struct timer *timer)
{
	size_t at = timer->slot - 1;
	struct due last = loop->heap[--loop->ntimers];

	timer->slot = 0;
	if (last.timer == timer)
		return;
	if (at && loop->heap[(at - 1) / 2].ms > last.ms)
		sift_up(loop, at, last);
	else
		sift_down(loop, at, last);
}

static size_t count_due(const struct loop *loop, size_t at, uint64_t now)
{
	if (at >= loop->ntimers || loop->heap[at].ms > now)
		return 0;
	return 1 + count_due(loop, 2 * at + 1, now) + count_due(loop, 2 * at + 2, now);
}

/* As many as are due then: those that set themselves again for now do not keep the loop from its descriptors. */
static void fire_due(struct loop *loop, uint64_t then)
{
	for (size_t most = count_due(loop, 0, then); most && loop->ntimers && loop->heap[0].ms <= then; most--) {
		struct timer *timer = loop->heap[0].timer;
		remove_timer(loop, timer);
		timer->fire(timer);
	}
}

static void set_alarm(struct loop *loop);

/* libuv rings before it looks at descriptors. Timers wait until it has: a loop that was held up must not take for late what has come
 * meanwhile. */
static void alarm_rings(uv_timer_t *alarm)
{
	struct loop *loop = alarm->data;

	loop->rung_ms = uv_now(&loop->uv);
	if (loop->ntimers && loop->heap[0].ms <= loop->rung_ms) {
		loop->rung = true;
		uv_idle_start(&loop->awake, stay_awake);
	} else {
		set_alarm(loop);
	}
}

static void set_alarm(struct loop *loop)
{
	uint64_t now = uv_now(&loop->uv), first = loop->ntimers ? loop->heap[0].ms : 0;

	if (loop->fake || !loop->ntimers)
		uv_timer_stop(&loop->alarm);
	else
		uv_timer_start(&loop->alarm, alarm_rings, first > now ? first - now : 0, 0);
}

/* Descriptors have been served. What has come due while they were waits for another look at them. */
static void ring_timers(struct loop *loop)
{
	if (!loop->rung)
		return;
	loop->rung = false;
	if (!loop->fake)
		fire_due(loop, loop->rung_ms);
	set_alarm(loop);
	may_sleep(loop);
}

void timer_set(struct loop *loop, struct timer *timer, uint64_t after_ms, void (*fire)(struct timer *))
{
	struct timer *first = loop->ntimers ? loop->heap[0].timer : NULL;

	if (timer->slot)
		remove_timer(loop, timer);
	if (loop->ntimers == loop->heap_size) {
		loop->heap_size = loop->heap_size ? 2 * loop->heap_size : 64;
		loop->heap = realloc(loop->heap, loop->heap_size * sizeof(*loop->heap));
		if (!loop->heap)
			abort();
	}
	timer->due_ms = loop_now_ms(loop) + after_ms;
	timer->fire = fire;
	loop->ntimers++;
	sift_up(loop, loop->ntimers - 1, (struct due){ timer->due_ms, timer });
	/* Else the alarm rings no later than needed; ringing in vain is cheaper than moving it at each change. */
	if (loop->heap[0].timer == timer || first == timer)
		set_alarm(loop);
}

void timer_clear(struct loop *loop, struct timer *timer)
{
	if (timer->slot)
		remove_timer(loop, timer);
}

uint64_t loop_now_ms(const struct loop *loop)
{
	return loop->fake ? loop->fake_ms : uv_now(&loop->uv);
}

uint64_t loop_fresh_ms(struct loop *loop)
{
	uv_update_time(&loop->uv);
	return loop_now_ms(loop);
}

void loop_fake_clock(struct loop *loop, uint64_t now_ms)
{
	assert(!loop->fake || now_ms >= loop->fake_ms);
	loop->fake = true;
	loop->fake_ms = now_ms;
	fire_due(loop, now_ms);
	set_alarm(loop);
}

/* -- stalls -------------------------------------------------------------------------------------------------------- */
/* Of this thread: how often it gave its core up, as who sleeps does. Who is put off it by others has not slept. */
static long sleeps(void)
{
	struct rusage used;

	return getrusage(RUSAGE_THREAD, &used) ? 0 : used.ru_nvcsw;
}

#define WORTH_NS 1000000 /* a shorter turn keeps nobody waiting, whether there was a sleep before it or not; most are */

static void about_to_sleep(uv_prepare_t *prepare)
{
	struct loop *loop = prepare->data;

	run_later(loop);
	ring_all(loop);
	loop->slept_from_ns = uv_hrtime();
	loop->busy_ns = loop->woke_ns ? loop->slept_from_ns - loop->woke_ns : 0;
	if (loop->busy_ns >= WORTH_NS)
		loop->sleeps = sleeps();
	if (loop->busy_ns > loop->stalled_ns)
		loop->stalled_ns = loop->busy_ns;
}

static void woke_up(uv_check_t *check)
{
	struct loop *loop = check->data;

	/* Descriptors were served between waking and here; libuv keeps the time of waking, in whole milliseconds. */
	loop->woke_ns = uv_now(&loop->uv) * 1000000;
	/* What was ready at once came while the last turn went on; with a sleep before it, it came just now. A sleep within one
	 * millisecond is not seen, and is none worth speaking of after a turn that was longer. */
	bool slept = loop->busy_ns < WORTH_NS || (loop->woke_ns > loop->slept_from_ns && sleeps() > loop->sleeps);
	loop->waited_ns = slept ? 0 : loop->busy_ns;
	if (loop->waited_ns < loop->least_ns)
		loop->least_ns = loop->waited_ns;
	ring_timers(loop);
}

uint64_t loop_least_wait_us(struct loop *loop)
{
	uint64_t us = loop->least_ns == UINT64_MAX ? 0 : loop->least_ns / 1000;

	loop->least_ns = UINT64_MAX;
	return us;
}

uint64_t loop_wait_us(const struct loop *loop)
{
	return loop->woke_ns ? (loop->waited_ns + uv_hrtime() - loop->woke_ns) / 1000 : 0;
}

uint64_t loop_stalled_ms(const struct loop *loop)
{
	uint64_t ms = loop->stalled_ns / 1000000;

	((struct loop *)(uintptr_t)loop)->stalled_ns = 0;
	return ms;
}

/* -- descriptors --------------------------------------------------------------------------------------------------- */
struct watch {
	uv_poll_t poll;
	watch_fn *fn;
	void *arg;
	int events;
};

void loop_close_handle(uv_handle_t *handle)
{
	free(handle->data);
}

static void polled(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	int seen = (events & UV_READABLE ? LOOP_READ : 0) | (events & UV_WRITABLE ? LOOP_WRITE : 0);

	/* libuv stops a handle on EPOLLERR and reports UV_EBADF: whoever reads or writes now learns the true error. */
	if (status < 0) {
		w->events = 0;
		seen = LOOP_READ | LOOP_WRITE | LOOP_GONE;
	}
	w->fn(w->arg, seen);
}

struct watch *watch_new(struct loop *loop, int fd, int events, watch_fn *fn, void *arg)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->fn = fn;
	w->arg = arg;
	if (uv_poll_init(&loop->uv, &w->poll, fd) < 0) {
		free(w);
		return NULL;
	}
	w->poll.data = w;
	watch_set(w, events);
	return w;
}

void watch_set(struct watch *w, int events)
{
	int wanted = (events & LOOP_READ ? UV_READABLE : 0) | (events & LOOP_WRITE ? UV_WRITABLE : 0);

	if (events == w->events)
		return;
	w->events = events;
	if (wanted)
		uv_poll_start(&w->poll, wanted, polled);
	else
		uv_poll_stop(&w->poll);
}

void watch_free(struct watch *w)
{
	if (w)
		uv_close((uv_handle_t *)&w->poll, loop_close_handle);
}

/* -- the loop itself ----------------------------------------------------------------------------------------------- */
static struct loop *not_made(struct loop *loop)
{
	if (loop->bell_fd >= 0)
		close(loop->bell_fd);
	free(loop);
	return NULL;
}

struct loop *loop_new(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return NULL;
	loop->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->bell_fd < 0 || uv_loop_init(&loop->uv) < 0)
		return not_made(loop);
	if (uv_poll_init(&loop->uv, &loop->bell, loop->bell_fd) < 0) {
		uv_loop_close(&loop->uv);
		return not_made(loop);
	}
	loop->last_later = &loop->later;
	loop->least_ns = UINT64_MAX;
	uv_timer_init(&loop->uv, &loop->alarm);
	uv_prepare_init(&loop->uv, &loop->before_sleep);
	uv_check_init(&loop->uv, &loop->after_sleep);
	uv_idle_init(&loop->uv, &loop->awake);
	loop->alarm.data = loop->before_sleep.data = loop->after_sleep.data = loop->bell.data = loop;
	uv_prepare_start(&loop->before_sleep, about_to_sleep);
	uv_check_start(&loop->after_sleep, woke_up);
	uv_poll_start(&loop->bell, UV_READABLE, take_messages);
	return loop;
}

static void turn(struct loop *loop, uv_run_mode mode)
{
	struct loop *outer = turning;

	turning = loop;
	uv_run(&loop->uv, mode);
	if (mode == UV_RUN_DEFAULT)
		run_later(loop); /* whoever stopped it left them behind */
	turning = outer;
	ring_all(loop);
}

void loop_run(struct loop *loop)
{
	turn(loop, UV_RUN_DEFAULT);
	timer_clear(loop, &loop->soon);
	ring_soon(&loop->soon);
}

void loop_stop(struct loop *loop)
{
	uv_stop(&loop->uv);
}

int loop_backend_fd(struct loop *loop)
{
	return uv_backend_fd(&loop->uv);
}

int loop_backend_timeout_ms(struct loop *loop)
{
	uv_update_time(&loop->uv);
	return uv_backend_timeout(&loop->uv);
}

void loop_turn(struct loop *loop)
{
	turn(loop, UV_RUN_NOWAIT);
}

static void close_own(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	close_own((uv_handle_t *)&loop->alarm);
	close_own((uv_handle_t *)&loop->bell);
	close_own((uv_handle_t *)&loop->before_sleep);
	close_own((uv_handle_t *)&loop->after_sleep);
	close_own((uv_handle_t *)&loop->awake);
	loop_free_signals(loop);
	loop_free_children(loop);
	uv_run(&loop->uv, UV_RUN_DEFAULT); /* the closing callbacks, and names still being resolved */
	int left = uv_loop_close(&loop->uv);
	assert(left == 0);
	(void)left;
	close(loop->bell_fd);
	free(loop->heap);
	free(loop);
}
