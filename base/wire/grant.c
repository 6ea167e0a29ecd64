/* SPDX-License-Identifier: Apache-2.0 */
/* The pieces of what is signed end with a NUL, which none of them can have, so no two rooms or nodes make one text. */
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/mac.h"
#include "base/wire/grant.h"
#include "base/wire/limits.h"

#define SIGNED_MAX (16 + ROOM_MAX + NODE_MAX + INCARNATION_MAX + 32)

struct signing {
	char text[SIGNED_MAX];
	size_t len;
};

static void sign_piece(struct signing *s, struct str piece)
{
	size_t room = sizeof(s->text) - s->len - 1, len = piece.len < room ? piece.len : room;

	memcpy(s->text + s->len, piece.at, len);
	s->len += len;
	s->text[s->len++] = '\0';
}

static void sign(struct str key, const struct signing *s, char out[static GRANT_MAX])
{
	unsigned char sum[MAC_BYTES];
	struct buf text = { 0 };

	mac_sha256(key, (struct str){ s->text, s->len }, sum);
	base64url_add(&text, (const char *)sum, GRANT_BYTES);
	memcpy(out, text.at, GRANT_LEN);
	out[GRANT_LEN] = '\0';
	buf_free(&text);
}

static void sign_by_all(const struct secret_keys *keys, const struct signing *s, char out[static GRANTS_MAX])
{
	*out = '\0';
	for (size_t i = 0; i < keys->count; i++) {
		if (i)
			*out++ = ',';
		sign(secret_key_of(keys, i), s, out);
		out += GRANT_LEN;
	}
}

/* -- grants ----------------------------------------------------------------------------------------------------------------- */
static struct signing of_room(const struct granted_room *room)
{
	struct signing s = { .len = 0 };
	char epoch[24];

	snprintf(epoch, sizeof(epoch), "%llu", (unsigned long long)room->epoch);
	sign_piece(&s, STR("usher-grant"));
	sign_piece(&s, room->room);
	sign_piece(&s, str_of(room->node));
	sign_piece(&s, str_of(room->incarnation));
	sign_piece(&s, str_of(epoch));
	s.len--; /* nothing follows */
	return s;
}

void grant_write(struct str key, const struct granted_room *room, char out[static GRANT_MAX])
{
	struct signing s = of_room(room);

	sign(key, &s, out);
}

void grant_write_all(const struct secret_keys *keys, const struct granted_room *room, char out[static GRANTS_MAX])
{
	struct signing s = of_room(room);

	sign_by_all(keys, &s, out);
}

bool grant_valid(struct str text)
{
	unsigned char bytes[GRANT_BYTES + 3];
	size_t len;

	return text.len == GRANT_LEN && base64url_read(text, bytes, &len) && len == GRANT_BYTES;
}

int grant_signer(const struct secret_keys *keys, const struct granted_room *room, struct str grant)
{
	struct signing s = of_room(room);
	char right[GRANT_MAX];

	for (size_t i = 0; grant.len == GRANT_LEN && i < keys->count; i++) {
		sign(secret_key_of(keys, i), &s, right);
		if (secret_eq(right, grant.at, GRANT_LEN))
			return (int)i;
	}
	return -1;
}

void keys_name(const struct secret_keys *keys, char out[static GRANTS_MAX])
{
	struct signing s = { .len = 0 };

	sign_piece(&s, STR("usher-keys"));
	sign_by_all(keys, &s, out);
}

/* -- call keys ------------------------------------------------------------------------------------------------------------------ */
static struct signing of_node(const char *node, const char *incarnation)
{
	struct signing s = { .len = 0 };

	sign_piece(&s, STR("usher-call"));
	sign_piece(&s, str_of(node));
	sign_piece(&s, str_of(incarnation));
	s.len--;
	return s;
}

void call_key_write(struct str key, const char *node, const char *incarnation, char out[static GRANT_MAX])
{
	struct signing s = of_node(node, incarnation);

	sign(key, &s, out);
}

void call_key_write_all(const struct secret_keys *keys, const char *node, const char *incarnation, char out[static GRANTS_MAX])
{
	struct signing s = of_node(node, incarnation);

	sign_by_all(keys, &s, out);
}

/* -- on the node ---------------------------------------------------------------------------------------------------------------- */
/* All at once: what a key made that routers do not have any more is to open nothing. */
bool known_grants_replace(struct known_grants *known, struct str given)
{
	struct known_grants anew = { 0 };
	struct str piece;
	size_t n = 0;

	while (str_cut(&given, ',', &piece)) {
		piece = str_trim(piece);
		if (n == SECRET_KEYS_MAX || !grant_valid(piece))
			return false;
		memcpy(anew.texts[n++], piece.at, GRANT_LEN);
	}
	if (!n || !memcmp(&anew, known, sizeof(anew)))
		return false;
	*known = anew;
	return true;
}

static bool is_known(const struct known_grants *known, struct str grant)
{
	bool found = false;

	for (size_t i = 0; grant.len == GRANT_LEN && i < SECRET_KEYS_MAX; i++)
		found |= *known->texts[i] && secret_eq(known->texts[i], grant.at, GRANT_LEN);
	return found;
}

bool known_grants_match(const struct known_grants *known, struct str said)
{
	struct str piece;
	bool found = false;

	while (str_cut(&said, ',', &piece))
		found |= is_known(known, str_trim(piece));
	return found;
}
