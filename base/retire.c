/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches: what is retired within GATHER_MS, or while a batch is under way, goes in one round, so that a busy writer wakes each
 * reader for one no-op message now and then. A round is over when every reader has run its message: then no callback that
 * began before the unlinking is still running.
 */
#include <stdlib.h>

#include "base/loop.h"
#include "base/retire.h"
#include "base/wait.h"

#define GATHER_MS 20 /* a table that loses 30,000 rooms a second keeps 600 of them so long, some 100 KB */

struct round { /* one message through all readers, one after the other */
	struct task task;
	struct retire *retire;
};
struct retire {
	struct loop *writer, **readers;
	size_t nreaders, at;
	struct round round;
	bool under_way;
	struct timer gather;
	struct retired *waiting, *going;
};

static void free_list(struct retired *list)
{
	for (struct retired *r = list, *next; r; r = next) {
		next = r->next;
		r->free(r);
	}
}

static void pass_on(struct task *);
static void round_over(struct task *);

static void send_on(struct retire *retire)
{
	if (retire->at < retire->nreaders)
		loop_post(retire->readers[retire->at++], &retire->round.task, pass_on);
	else
		loop_post(retire->writer, &retire->round.task, round_over);
}

/* On a reader. The message is in one place at a time, so `at` needs no lock. */
static void pass_on(struct task *task)
{
	send_on(container_of(task, struct round, task)->retire);
}

static void begin_round(struct timer *gather)
{
	struct retire *retire = container_of(gather, struct retire, gather);

	retire->going = retire->waiting;
	retire->waiting = NULL;
	retire->under_way = true;
	retire->at = 0;
	send_on(retire);
}

static void gather(struct retire *retire)
{
	if (!retire->under_way && !retire->gather.slot)
		timer_set(retire->writer, &retire->gather, GATHER_MS, begin_round);
}

static void round_over(struct task *task)
{
	struct retire *retire = container_of(task, struct round, task)->retire;

	free_list(retire->going);
	retire->going = NULL;
	retire->under_way = false;
	if (retire->waiting)
		gather(retire);
}

struct retire *retire_new(struct loop *writer, struct loop *const *readers, size_t n)
{
	struct retire *retire = calloc(1, sizeof(*retire));

	if (!retire || !(retire->readers = calloc(n + 1, sizeof(*retire->readers))))
		abort();
	retire->writer = writer;
	for (size_t i = 0; i < n; i++)
		retire->readers[i] = readers[i];
	retire->nreaders = n;
	retire->round.retire = retire;
	return retire;
}

void retire_later(struct retire *retire, struct retired *retired, void (*free_it)(struct retired *))
{
	retired->free = free_it;
	retired->next = retire->waiting;
	retire->waiting = retired;
	gather(retire);
}

void retire_free(struct retire *retire)
{
	timer_clear(retire->writer, &retire->gather);
	free_list(retire->going);
	free_list(retire->waiting);
	free(retire->readers);
	free(retire);
}
