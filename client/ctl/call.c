/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place where usherctl waits: the loop runs until the answer is there. What went wrong is said here, in one or two
 * lines, and becomes the exit code, so that a command only goes on while all is well.
 */
#include <string.h>

#include "base/loop.h"
#include "base/wait.h"
#include "client/ctl/ctl.h"
#include "client/ctl/shapes.h"
#include "client/ctl/table.h"

#define ANSWER_MAX (64u << 20)

struct call {
	struct wait wait;
	struct loop *loop;
	int err;
};

static void call_wake(struct wait *w, int err)
{
	struct call *call = container_of(w, struct call, wait);

	call->err = err;
	loop_stop(call->loop);
}

static void add_header(struct http_request *rq, const char *name, const char *value)
{
	rq->headers[rq->nheaders++] = (struct header){ str_of(name), str_of(value) };
}

static int await(struct ctl *ctl, const struct http_request *rq, struct http_answer *answer)
{
	struct call call = { .wait.wake = call_wake, .loop = ctl->loop };
	int err = http_fetch(ctl->http, rq, &ctl->arena, answer, &call.wait);

	if (err != WAIT)
		return err;
	loop_run(ctl->loop);
	return call.err;
}

static int unreachable(struct ctl *ctl, const struct http_answer *answer)
{
	bool words = answer->why && *answer->why;

	fprintf(ctl->err, "usherctl: no answer from %s (%s%s", ctl->url, http_outcome_name(answer->outcome), words ? ": " : "");
	clean_print(words ? answer->why : "", ctl->err);
	fputs(")\n", ctl->err);
	return CTL_UNREACHABLE;
}

static void say(struct ctl *ctl, const char *text)
{
	clean_print(text, ctl->err);
	fputc('\n', ctl->err);
}

static int refused(struct ctl *ctl, const struct http_answer *answer)
{
	struct problem_view problem = { 0 };
	const char *fault;

	if (json_read(answer->body, &problem_shape, &ctl->arena, &problem, &fault) < 0 || !problem.title)
		fprintf(ctl->err, "usherctl: the router answered %d\n", answer->status);
	else
		say(ctl, arena_printf(&ctl->arena, "usherctl: %s (%s)", problem.title, problem.code ? problem.code : "no code"));
	if (problem.detail && (!problem.title || strcmp(problem.detail, problem.title)))
		say(ctl, arena_printf(&ctl->arena, "  %s", problem.detail));
	if (answer->status == 404)
		return CTL_NOT_FOUND;
	return answer->status >= 400 && answer->status < 500 ? CTL_REFUSED : CTL_FAILED;
}

int ctl_call(struct ctl *ctl, const char *method, const char *target, struct str body, struct str *out)
{
	size_t base = strlen(ctl->url);
	struct http_request rq = { .method = method, .body = body, .timeout_ms = ctl->timeout_ms, .answer_max = ANSWER_MAX,
		                   .idempotent = strcmp(method, "POST") != 0 };
	struct http_answer answer = { 0 };
	const char *bearer = ctl->token ? arena_printf(&ctl->arena, "Bearer %s", ctl->token) : NULL;

	while (base && ctl->url[base - 1] == '/')
		base--;
	rq.url = arena_printf(&ctl->arena, "%.*s%s", (int)base, ctl->url, target);
	add_header(&rq, "Accept", "application/json");
	if (body.len)
		add_header(&rq, "Content-Type", "application/json");
	if (ctl->key && !(bearer = token_for_call(ctl, method, target)))
		return CTL_FAILED;
	if (bearer)
		add_header(&rq, "Authorization", bearer);
	if (await(ctl, &rq, &answer) < 0 || answer.outcome != HTTP_ANSWERED)
		return unreachable(ctl, &answer);
	if (answer.status < 200 || answer.status > 299)
		return refused(ctl, &answer);
	*out = answer.body;
	return CTL_DONE;
}

int ctl_read(struct ctl *ctl, struct str answer, const struct json_shape *shape, void *out)
{
	const char *fault = NULL;

	if (json_read(answer, shape, &ctl->arena, out, &fault) == 0)
		return CTL_DONE;
	fprintf(ctl->err, "usherctl: the router's answer is not understood: %s\n", fault ? fault : "not JSON");
	return CTL_FAILED;
}

void ctl_show_raw(struct ctl *ctl, struct str answer)
{
	fwrite(answer.at, 1, answer.len, ctl->out);
	if (answer.len && answer.at[answer.len - 1] != '\n')
		fputc('\n', ctl->out);
}

struct buf ctl_path(const char *before, const char *name, const char *after)
{
	struct buf target = { 0 };

	buf_adds(&target, before);
	percent_encode(&target, str_of(name));
	buf_adds(&target, after);
	return target;
}

int ctl_call_at(struct ctl *ctl, const char *method, struct buf *target, struct str body, struct str *answer)
{
	int code = ctl_call(ctl, method, target->at, body, answer);

	buf_free(target);
	return code;
}

int ctl_change(struct ctl *ctl, const char *method, struct buf target, struct str body, const char *done)
{
	struct str answer;
	int code = ctl_call_at(ctl, method, &target, body, &answer);

	if (code == CTL_DONE && ctl->json)
		ctl_show_raw(ctl, answer);
	else if (code == CTL_DONE)
		fprintf(ctl->out, "%s %s\n", ctl->name, done);
	return code;
}

struct pause {
	struct timer timer;
	struct loop *loop;
};

static void pause_over(struct timer *t)
{
	loop_stop(container_of(t, struct pause, timer)->loop);
}

void ctl_pause(struct ctl *ctl, uint64_t ms)
{
	struct pause pause = { .loop = ctl->loop };

	timer_set(ctl->loop, &pause.timer, ms, pause_over);
	loop_run(ctl->loop);
}
