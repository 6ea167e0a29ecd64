/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event loop per thread: time, timers, descriptors, messages from other threads, names, signals, children.
 * The adapter of libuv: nothing else includes <uv.h>. Everything here is for the loop's own thread, but loop_post().
 * Nothing may block. Callbacks run one at a time on the loop's thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct loop;
struct wait;

struct loop *loop_new(void);  /* NULL: out of memory or descriptors */
void loop_free(struct loop *); /* every watch must be gone; timers are just forgotten */
void loop_run(struct loop *);  /* until loop_stop() */
void loop_stop(struct loop *);
/* For a loop that runs inside another one: poll this descriptor for reading, wait at most this long, then turn once. */
int loop_backend_fd(struct loop *);
int loop_backend_timeout_ms(struct loop *); /* -1: no limit */
void loop_turn(struct loop *);              /* never blocks */

/* -- time: monotonic milliseconds, fixed for one turn of the loop ------------------------------------------------- */
uint64_t loop_now_ms(const struct loop *);
uint64_t loop_fresh_ms(struct loop *);                  /* asks the clock anew, for measuring stalls */
void loop_fake_clock(struct loop *, uint64_t now_ms);   /* tests: time stands until moved; fires what has come due */
uint64_t loop_stalled_ms(const struct loop *);          /* the longest single turn since the last call */
/* How long work that was ready has waited for its turn, at the best moment since the last call: 0 if the loop has slept
 * at all, or had a turn of less than a millisecond, so a burst counts for nothing and a queue that stands for as long as it takes to
 * come round. */
uint64_t loop_least_wait_us(struct loop *);
uint64_t loop_wait_us(const struct loop *); /* how long what is run just now may have waited, at most */

/* Embedded in its owner; zero-initialized means not set. Setting again moves it. Fires once, when descriptors have been served after it
 * came due: who reads in a descriptor's callback takes an answer that has come, however long the loop was held up, and judges by
 * itself whether one that old still says anything. O(log n). */
struct timer {
	uint64_t due_ms;
	size_t slot; /* 1-based place in the heap; 0: not set */
	void (*fire)(struct timer *);
};
void timer_set(struct loop *, struct timer *, uint64_t after_ms, void (*fire)(struct timer *));
void timer_clear(struct loop *, struct timer *);

/* -- descriptors --------------------------------------------------------------------------------------------------- */
enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_GONE = 4 /* error or hang-up: also read and write are reported */ };
struct watch;
typedef void watch_fn(void *arg, int events);
/* Level-triggered. The descriptor stays the caller's; call watch_free() before closing it. NULL: cannot be watched. */
struct watch *watch_new(struct loop *, int fd, int events, watch_fn *fn, void *arg);
void watch_set(struct watch *, int events); /* cheap when unchanged; 0 pauses */
void watch_free(struct watch *);            /* NULL is fine; may be called inside its callback */

/* Runs at the end of the present turn, before the loop sleeps; for work that collected ("dirty"). Fires once. Embedded in its
 * owner, zero-initialized. What is queued meanwhile runs in the same turn, too, but none twice in one: who has run waits for the
 * next. Who makes new ones of them in a row has to bound that. */
struct later {
	struct later *next;
	bool queued;
	uint64_t ran_in; /* the turn */
	void (*run)(struct later *);
};
void loop_later(struct loop *, struct later *, void (*run)(struct later *)); /* again while queued: nothing */
void loop_later_drop(struct loop *, struct later *);

/* -- messages between threads --------------------------------------------------------------------------------------- */
/* Embedded in its owner; one flight at a time. `run` gets it on the target loop's thread, in order of posting. */
struct task {
	struct task *next;
	void (*run)(struct task *);
};
/* Any thread; never blocks, no lock. From a turn of a loop it is on its way when that turn ends (or the messages are through that the
 * turn began with): who waits there for what the other thread does waits for ever. */
void loop_post(struct loop *to, struct task *, void (*run)(struct task *));
/* The same for what changes nothing by itself: on its way within 5 ms, or with the next message that may not wait. In order, too. */
void loop_post_soon(struct loop *to, struct task *, void (*run)(struct task *));
void loop_ring(struct loop *to); /* any thread: what was posted to it is on its way at once */

/* -- names, signals, children ---------------------------------------------------------------------------------------- */
#define LOOP_ADDRESSES_MAX 8
struct addresses {
	size_t count;
	struct sockaddr_storage at[LOOP_ADDRESSES_MAX]; /* with the port */
	socklen_t len[LOOP_ADDRESSES_MAX];
};
/* Numeric hosts are answered at once. Others by getaddrinfo on a helper thread. -ERR_NODE_UNAVAILABLE: no such name. */
int loop_resolve(struct loop *, const char *host, uint16_t port, struct addresses *out, struct wait *);
void loop_on_signal(struct loop *, int signum, void (*fn)(void *arg, int signum), void *arg); /* for the loop's life */
struct child;
/* Starts argv[0] from PATH with our stdio; `exited` is called once. NULL: could not start. */
struct child *child_start(struct loop *, char *const argv[], void (*exited)(void *arg, int status), void *arg);
int child_pid(const struct child *);
void child_signal(struct child *, int signum);
void child_free(struct child *); /* forgets it; does not kill it */
