/* SPDX-License-Identifier: Apache-2.0 */
/* The way back from health/load.c: only what was said is written, so that absent stays absent in the registry. */
#include "health/load.h"

static void write_text(struct json_out *json, const char *name, const char *value)
{
	if (value && *value)
		json_str(json, name, value);
}

static void write_positive(struct json_out *json, const char *name, double value)
{
	if (value > 0)
		json_real(json, name, value);
}

void node_info_write(const struct node_info *info, struct buf *out)
{
	struct json_out json = { .to = out };
	const struct json_pair *labels = info->labels.items;

	json_open(&json, NULL, '{');
	write_text(&json, "signal_url", info->signal_url);
	write_text(&json, "http_url", info->http_url);
	write_text(&json, "public_signal_url", info->public_signal_url);
	write_text(&json, "control_url", info->control_url);
	write_text(&json, "health_url", info->health_url);
	write_text(&json, "region", info->region);
	write_text(&json, "zone", info->zone);
	write_text(&json, "pool", info->pool);
	json_open(&json, "labels", '{');
	for (size_t i = 0; i < info->labels.count; i++)
		json_str(&json, labels[i].key, labels[i].value);
	json_close(&json, '}');
	json_open(&json, "capacity", '{');
	write_positive(&json, "bandwidth_mbps", info->capacity.bandwidth_mbps);
	write_positive(&json, "rooms", info->capacity.rooms);
	write_positive(&json, "participants", info->capacity.participants);
	json_close(&json, '}');
	json_str(&json, "fences", fences_words[info->fences]);
	write_text(&json, "adapter", info->adapter);
	write_text(&json, "version", info->version);
	json_close(&json, '}');
}

static void write_said(struct json_out *json, const char *name, bool said, double value)
{
	if (said)
		json_real(json, name, value);
}

void load_write(const struct load *load, struct buf *out)
{
	struct json_out json = { .to = out };

	json_open(&json, NULL, '{');
	write_said(&json, "cpu", load->has_cpu, load->cpu);
	write_said(&json, "memory", load->has_memory, load->memory);
	write_said(&json, "stress", load->has_stress, load->stress);
	write_said(&json, "bandwidth_in_mbps", load->has_in, load->bandwidth_in_mbps);
	write_said(&json, "bandwidth_out_mbps", load->has_out, load->bandwidth_out_mbps);
	write_said(&json, "rooms", load->has_rooms, load->rooms);
	write_said(&json, "participants", load->has_participants, load->participants);
	json_close(&json, '}');
}
