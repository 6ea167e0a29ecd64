/* SPDX-License-Identifier: Apache-2.0 */
/* The log-normal sizes are cut to whole people, so the table's median is searched for until its mean is the published one. */
#include <math.h>
#include <stddef.h>

#include "tests/sim/meetings.h"

#define SIZE_SIGMA 1.1
#define LENGTH_SIGMA 1.0
#define WITHIN 0.8 /* of all have joined … */
#define WITHIN_MS (5 * 60000.0)

static double cdf[PEOPLE_MAX + 1]; /* P(size <= i) */
static double length_median;

static double below(double x, double mu) /* of the log-normal */
{
	return 0.5 * erfc(-(log(x) - mu) / (SIZE_SIGMA * sqrt(2)));
}

static double fill_cdf(double mu)
{
	double mean = 0;

	for (size_t i = 1; i <= PEOPLE_MAX; i++) {
		cdf[i] = i < PEOPLE_MAX ? below((double)i, mu) : 1;
		mean += (double)i * (cdf[i] - cdf[i - 1]);
	}
	return mean;
}

void meetings_init(void)
{
	double low = -2, high = 4;

	for (int i = 0; i < 60; i++) {
		double middle = (low + high) / 2;
		if (fill_cdf(middle) < MEETING_PEOPLE)
			low = middle;
		else
			high = middle;
	}
	length_median = MEETING_MS / exp(LENGTH_SIGMA * LENGTH_SIGMA / 2);
}

/* Of n people on average one is there at the start: 1/n + (1 − 1/n)(1 − e^(−t/tau)) = 0.8. */
double join_tau_ms(void)
{
	double first = 1 / MEETING_PEOPLE;

	return -WITHIN_MS / log(1 - (WITHIN - first) / (1 - first));
}

static double normal(struct chance *c)
{
	double r = sqrt(2 * chance_exp(c));

	return r * cos(2 * M_PI * chance_unit(c));
}

uint64_t meeting_length_ms(const struct meetings *m, struct chance *c)
{
	double ms = m->shape == SHAPE_EVEN ? MEETING_MS * chance_exp(c) : length_median * exp(LENGTH_SIGMA * normal(c));

	return (uint64_t)(ms < 1000 ? 1000 : ms > LENGTH_MAX_MS ? LENGTH_MAX_MS : ms);
}

uint16_t meeting_people(const struct meetings *m, struct chance *c)
{
	double x = chance_unit(c), times = m->people > 0 ? m->people : 1;
	uint16_t n = 1;

	if (m->shape == SHAPE_EVEN)
		return x < MEETING_PEOPLE - 3 ? 4 : 3;
	while (n < PEOPLE_MAX && cdf[n] <= x)
		n++;
	return (uint16_t)(n * times + 0.5);
}

/* The least of n that are uniform between last and 1. */
float next_join(float last, unsigned left, struct chance *c)
{
	return (float)(1 - (1 - last) * pow(1 - chance_unit(c), 1.0 / left));
}

/* All come while the room is there: the exponential is cut at its length. */
uint64_t join_ms(float place, uint64_t length_ms)
{
	double all = -expm1(-(double)length_ms / join_tau_ms());

	return (uint64_t)(-join_tau_ms() * log1p(-place * all));
}

double mean_presence(const struct meetings *m)
{
	struct chance c = chance_of(1, 2);
	double there = 0, length = 0;

	for (int i = 0; i < 20000; i++) {
		uint64_t ms = meeting_length_ms(m, &c);
		uint16_t people = meeting_people(m, &c);
		double cut = exp(-(double)ms / join_tau_ms());
		double wait = join_tau_ms() - (double)ms * cut / (1 - cut);
		there += (double)ms + (people - 1) * ((double)ms - wait);
		length += (double)ms;
	}
	return there / length;
}
