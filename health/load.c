/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shapes and score. What is absent is no term: an absent cpu is not an idle one. Memory and rooms alone say too little to
 * place on (a node may hold few rooms and be full), so a score is known only with a term of cpu, stress, a bandwidth or
 * participants; the last two make a term only beside the capacity that they are a share of.
 */
#include <stddef.h>

#include "base/url.h"
#include "base/wire/limits.h"
#include "health/load.h"

const char *const fences_words[] = { "none", "gate", "rooms", NULL };
const char *const score_term_words[] = { "cpu", "memory", "stress", "bandwidth_in", "bandwidth_out", "participants", "rooms", NULL };

static bool is_url(const char *s, const char **why)
{
	struct url url;

	return !*s || url_parse(s, &url, why);
}

/* clang-format off */
#define CAPACITY(m, words) { #m, JSON_REAL, offsetof(struct capacity, m), JSON_NO_HAS, 0, LOAD_MAX, .help = words }
static const struct json_member capacity_members[] = {
	CAPACITY(bandwidth_mbps, "each way"), CAPACITY(rooms, "at most; also a hard limit"), CAPACITY(participants, "at most; also a hard limit"),
};
static const struct json_shape capacity_shape = { capacity_members, 3, sizeof(struct capacity) };

#define AT(m) offsetof(struct node_info, m), JSON_NO_HAS
#define URL(m, words) { #m, JSON_STRING, AT(m), 0, URL_MAX_BYTES, .check = is_url, .help = words }
#define WORD(m, words) { #m, JSON_STRING, AT(m), 0, LABEL_MAX, .help = words }
static const struct json_member info_members[] = {
	{ "signal_url", JSON_STRING, AT(signal_url), 1, URL_MAX_BYTES, .required = true, .check = is_url, .help = "ws, wss, http or https" },
	URL(http_url, "default: signal_url with the scheme changed"), URL(public_signal_url, "for joins that ask for mode direct"),
	URL(control_url, "absent: the node is not called"), URL(health_url, "absent: not probed"),
	WORD(region, "a join may wish or require it"), WORD(zone, "for people"), WORD(pool, "default: default"),
	{ "labels", JSON_MAP, AT(labels), 0, LABELS_MAX, .help = "a join may prefer or require them" },
	{ "capacity", JSON_OBJECT, AT(capacity), .shape = &capacity_shape },
	{ "fences", JSON_WORD, AT(fences), .words = fences_words, .help = "what keeps participants out when the lease is over" },
	WORD(adapter, "for people"), WORD(version, "for people"),
};
const struct json_shape node_info_shape = { info_members, sizeof(info_members) / sizeof(*info_members), sizeof(struct node_info) };

#define LOAD(m, flag, words) { #m, JSON_REAL, offsetof(struct load, m), offsetof(struct load, flag), 0, LOAD_MAX, .help = words }
static const struct json_member load_members[] = {
	LOAD(cpu, has_cpu, "fraction; may exceed 1"), LOAD(memory, has_memory, "fraction"), LOAD(stress, has_stress, "fraction; the SFU's own measure"),
	LOAD(bandwidth_in_mbps, has_in, "Mbit/s"), LOAD(bandwidth_out_mbps, has_out, "Mbit/s"), LOAD(rooms, has_rooms, "held"),
	LOAD(participants, has_participants, "connected"),
};
const struct json_shape load_shape = { load_members, sizeof(load_members) / sizeof(*load_members), sizeof(struct load) };
/* clang-format on */

static double term(bool said, double value)
{
	return said ? value : -1;
}

/* A share of what the node can do; without a capacity there is none. */
static double share(bool said, double value, double capacity)
{
	return said && capacity > 0 ? value / capacity : -1;
}

void score_of(const struct load *load, const struct capacity *capacity, struct score *out)
{
	double *terms = out->term;

	terms[SCORE_CPU] = term(load->has_cpu, load->cpu);
	terms[SCORE_MEMORY] = term(load->has_memory, load->memory);
	terms[SCORE_STRESS] = term(load->has_stress, load->stress);
	terms[SCORE_IN] = share(load->has_in, load->bandwidth_in_mbps, capacity->bandwidth_mbps);
	terms[SCORE_OUT] = share(load->has_out, load->bandwidth_out_mbps, capacity->bandwidth_mbps);
	terms[SCORE_PARTICIPANTS] = share(load->has_participants, load->participants, capacity->participants);
	terms[SCORE_ROOMS] = share(load->has_rooms, load->rooms, capacity->rooms);
	out->known = false;
	out->value = 0;
	out->fullest = SCORE_CPU;
	for (enum score_term t = SCORE_CPU; t < SCORE_TERMS; t++) {
		out->known = out->known || (terms[t] >= 0 && t != SCORE_MEMORY && t != SCORE_ROOMS);
		if (terms[t] <= out->value)
			continue;
		out->value = terms[t];
		out->fullest = t;
	}
}
