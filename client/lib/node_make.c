/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options are checked here, in words for whoever fills them in. Routers that an answer told are dropped when a later one
 * does not tell them any more; configured ones stay. While the store is gone lists only grow: a router that has just started
 * knows no other, and one that is not asked could place rooms.
 */
#include <stdlib.h>
#include <string.h>

#include "base/url.h"
#include "client/lib/node_make.h"

/* -- routers ------------------------------------------------------------------------------------------------------------------ */
static size_t trimmed(const char *url)
{
	size_t len = strlen(url);

	while (len && url[len - 1] == '/')
		len--;
	return len;
}

static struct router_link *find_link(const struct usher_node *node, const char *url)
{
	size_t len = trimmed(url);

	for (struct router_link *link = node->links; link; link = link->next)
		if (strlen(link->url) == len && !memcmp(link->url, url, len))
			return link;
	return NULL;
}

static struct router_link *add_link(struct usher_node *node, const char *url)
{
	struct router_link **end = &node->links, *link = find_link(node, url);
	struct url parsed;

	if (link || node->nlinks >= ROUTERS_MAX || !url_parse(url, &parsed, NULL) || parsed.websocket)
		return link;
	link = calloc(1, sizeof(*link));
	if (!link)
		abort();
	link->node = node;
	link->full = true;
	link->url = strndup(url, trimmed(url));
	while (*end)
		end = &(*end)->next;
	*end = link;
	node->nlinks++;
	return link;
}

static void free_link(struct router_link *link)
{
	wait_drop(&link->wait);
	link_forget_parts(link);
	arena_reset(&link->arena);
	free(link->url);
	free(link);
}

/* Whom the store has as one that we ask, that one may judge our silence: it is asked until a renewal did not name it, as no heartbeat
 * from before that can be renewed after it. */
static bool is_named(const struct router_link *link)
{
	return link->named_seq >= link->node->renewed_seq;
}

static void remove_untold(struct usher_node *node)
{
	struct router_link **at = &node->links;

	while (*at) {
		struct router_link *link = *at;
		if (link->configured || link->told || link == node->current || link->wait.op || is_named(link)) {
			at = &link->next;
			continue;
		}
		*at = link->next;
		node->nlinks--;
		free_link(link);
	}
}

void node_take_routers(struct usher_node *node, const struct json_list *list, bool only_add)
{
	const char *const *urls = list->items;

	if (!list->count)
		return;
	for (struct router_link *link = node->links; link && !only_add; link = link->next)
		link->told = false;
	node->unasked = only_add && node->unasked;
	for (size_t i = 0; i < list->count; i++) {
		struct router_link *link = add_link(node, urls[i]);
		if (link)
			link->told = true;
		else
			node->unasked = true;
	}
	if (!only_add)
		remove_untold(node);
}

/* -- options ------------------------------------------------------------------------------------------------------------------ */
static void copy_texts(struct node_identity *self, const struct usher_node_options *o)
{
	self->node = str_copy(o->node);
	self->incarnation = str_copy(o->incarnation);
	self->replaces = str_copy(o->replaces);
	self->token = str_copy(o->token);
	self->signal_url = str_copy(o->signal_url);
	self->http_url = str_copy(o->http_url);
	self->public_signal_url = str_copy(o->public_signal_url);
	self->control_url = str_copy(o->control_url);
	self->health_url = str_copy(o->health_url);
	self->region = str_copy(o->region);
	self->zone = str_copy(o->zone);
	self->pool = str_copy(o->pool);
	self->adapter = str_copy(o->adapter);
	self->version = str_copy(o->version);
	self->fences = str_copy(o->fences);
	self->tls_ca = str_copy(o->tls_ca);
	self->tls_cert = str_copy(o->tls_cert);
	self->tls_key = str_copy(o->tls_key);
}

static bool copy_labels(struct node_identity *self, const struct usher_node_options *o)
{
	self->labels = calloc(o->nlabels + 1, sizeof(*self->labels));
	for (size_t i = 0; self->labels && i < o->nlabels; i++) {
		self->labels[i] = (struct usher_label){ strdup(o->labels[i].key), strdup(o->labels[i].value) };
		self->nlabels++;
	}
	return self->labels;
}

static bool labels_valid(const struct usher_node_options *o)
{
	for (size_t i = 0; i < o->nlabels && i < LABELS_MAX; i++) {
		const struct usher_label *label = &o->labels[i];
		if (!label->key || !*label->key || !label->value || strlen(label->key) > LABEL_MAX || strlen(label->value) > LABEL_MAX)
			return false;
	}
	return o->nlabels <= LABELS_MAX;
}

void node_options_read(const struct usher_node_options *given, struct usher_node_options *out)
{
	*out = (struct usher_node_options){ 0 };
	if (given->size >= offsetof(struct usher_node_options, tls_ca) && given->size <= sizeof(*out))
		memcpy(out, given, given->size);
}

static const char *first_fault(const struct usher_node_options *o)
{
	struct url url;

	if (!o->size)
		return "size: must be sizeof(struct usher_node_options), of this version or an older one";
	if (!o->node || !node_valid(o->node, strlen(o->node)))
		return "node: must be 1 to 64 letters, digits, '.', '_' or '-'";
	if (!o->incarnation || !incarnation_valid(o->incarnation, strlen(o->incarnation)))
		return "incarnation: must be 1 to 128 letters, digits, '.', '_', ':' or '-'";
	if (o->replaces && *o->replaces && !incarnation_valid(o->replaces, strlen(o->replaces)))
		return "replaces: must be an incarnation";
	if (!o->signal_url || !url_parse(o->signal_url, &url, NULL))
		return "signal_url: must be a ws, wss, http or https URL";
	if (o->fences && strcmp(o->fences, "gate") && strcmp(o->fences, "rooms") && strcmp(o->fences, "none"))
		return "fences: must be \"gate\", \"rooms\" or \"none\"";
	if (!labels_valid(o))
		return "labels: must be at most 32, each a key and a value of at most 128 bytes";
	if (o->token && strpbrk(o->token, "\r\n"))
		return "token: must not have line ends";
	return NULL;
}

static bool trust_valid(const struct usher_node_options *o, const char **why)
{
	return trust_ca_valid(o->tls_ca ? o->tls_ca : "", why) && trust_pair_valid(o->tls_cert, o->tls_key, why);
}

bool node_make(struct usher_node *node, const struct usher_node_options *o, const char **why)
{
	const char *fault = first_fault(o);

	if (fault) {
		*why = fault;
		return false;
	}
	if (!trust_valid(o, why))
		return false;
	*why = "out of memory";
	node->self.capacity_bandwidth_mbps = o->capacity_bandwidth_mbps;
	node->self.capacity_rooms = o->capacity_rooms;
	node->self.capacity_participants = o->capacity_participants;
	copy_texts(&node->self, o);
	if (!copy_labels(&node->self, o))
		return false;
	node->trust = (struct trust){ .ca = node->self.tls_ca, .cert = node->self.tls_cert, .key = node->self.tls_key };
	for (size_t i = 0; i < o->nrouters; i++) {
		struct router_link *link = add_link(node, o->routers[i]);
		if (!link) {
			*why = "routers: must be at most 32 http or https URLs";
			return false;
		}
		link->configured = true;
	}
	node->current = node->links;
	*why = "routers: at least one is needed";
	return node->links;
}

void node_unmake(struct usher_node *node)
{
	struct node_identity *self = &node->self;
	char *texts[] = { self->node, self->incarnation, self->replaces, self->token, self->signal_url, self->http_url,
		          self->public_signal_url, self->control_url, self->health_url, self->region, self->zone, self->pool,
		          self->adapter, self->version, self->fences, self->tls_ca, self->tls_cert, self->tls_key, node->registered };

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		free(texts[i]);
	for (size_t i = 0; i < self->nlabels; i++) {
		free((char *)(uintptr_t)self->labels[i].key);
		free((char *)(uintptr_t)self->labels[i].value);
	}
	free(self->labels);
	for (struct router_link *link = node->links, *next; link; link = next) {
		next = link->next;
		free_link(link);
	}
}
