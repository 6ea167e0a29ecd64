/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for any input, tried on many: codings and their inverses, forgeries, frames however they are cut, networks. */
#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/egress.h"
#include "base/json.h"
#include "base/jwt.h"
#include "base/networks.h"
#include "base/url.h"
#include "base/wire/digest.h"
#include "base/wire/limits.h"
#include "base/wire/ticket.h"
#include "base/ws.h"
#include "tests/unit/chance.h"

static struct arena arena;

static void teardown(void)
{
	arena_reset(&arena);
}

/* -- codings ------------------------------------------------------------------------------------------------------------------ */
START_TEST(what_is_encoded_is_decoded)
{
	unsigned char bytes[300];
	char back[1200];
	size_t len;

	for (int round = 0; round < 2000; round++) {
		struct buf percent = { 0 }, base64 = { 0 };
		size_t n = chance_below(sizeof(bytes));
		chance_bytes(bytes, n);
		percent_encode(&percent, (struct str){ (char *)bytes, n });
		base64url_add(&base64, bytes, n);
		ck_assert_int_eq(percent_decode((struct str){ percent.at ? percent.at : "", percent.len }, back), (long)n);
		ck_assert(!memcmp(back, bytes, n));
		ck_assert(base64url_read((struct str){ base64.at ? base64.at : "", base64.len }, back, &len) && len == n && !memcmp(back, bytes, n));
		buf_free(&percent);
		buf_free(&base64);
	}
}
END_TEST

/* -- forgeries ---------------------------------------------------------------------------------------------------------------- */
static const struct secret_keys ticket_keys = { 1, { { "0123456789abcdef0123456789abcdef", 32 } } };
#define NOW UINT64_C(1800000000000)

static struct str room_by_chance(char *to)
{
	size_t n = 1 + chance_below(ROOM_MAX);

	for (size_t i = 0; i < n; i++)
		to[i] = (char)(' ' + chance_below(0x7f - ' '));
	return (struct str){ to, n };
}

START_TEST(no_bit_of_a_ticket_can_be_another)
{
	char room[ROOM_MAX], holder[ROOM_MAX];
	const char *why;

	for (int round = 0; round < 40; round++) {
		struct ticket made = { TICKET_SESSION, NOW + 1 + chance_below(1000000), room_by_chance(room), room_by_chance(holder) }, read;
		struct buf text = { 0 };
		made.holder.len = made.holder.len < TICKET_HOLDER_MAX ? made.holder.len : TICKET_HOLDER_MAX;
		ticket_write(&made, &ticket_keys, &text);
		struct str view = { text.at, text.len };
		ck_assert_msg(ticket_read(view, TICKET_SESSION, &ticket_keys, NOW, &arena, &read, &why), "%s", why);
		ck_assert(str_eq(read.room, made.room) && str_eq(read.holder, made.holder) && read.ends_ms == made.ends_ms);
		for (size_t bit = chance_below(8); bit < 8 * text.len; bit += 1 + chance_below(16)) {
			text.at[bit / 8] = (char)(text.at[bit / 8] ^ 1 << bit % 8);
			ck_assert_msg(!ticket_read(view, TICKET_SESSION, &ticket_keys, NOW, &arena, &read, &why), "bit %zu", bit);
			text.at[bit / 8] = (char)(text.at[bit / 8] ^ 1 << bit % 8);
		}
		buf_free(&text);
		arena_reset(&arena);
	}
}
END_TEST

static struct sign_key *key_of(const struct buf *secret)
{
	struct jwk jwk = { 0 };
	const char *why = "";

	ck_assert_int_eq(json_read((struct str){ secret->at, secret->len }, &jwk_shape, &arena, &jwk, &why), 0);
	struct sign_key *key = sign_key_new(&jwk, &why);
	ck_assert_msg(key != NULL, "%s", why);
	return key;
}

START_TEST(no_bit_of_a_jwt_can_be_another)
{
	static const enum sign_alg algs[] = { SIGN_HS256, SIGN_ES256, SIGN_EDDSA };
	struct buf secret = { 0 }, open = { 0 }, claims = { 0 }, token = { 0 };
	const char *why;
	struct jwt jwt;

	ck_assert(sign_generate(algs[_i], "k", &secret, &open));
	struct sign_key *key = key_of(&secret);
	struct jwt_rules rules = { &key, 1, "", "", NOW, 0 };
	buf_printf(&claims, "{\"exp\":1900000000,\"sub\":\"%llx\",\"scope\":\"join\",\"room\":\"r%llu\"}", (unsigned long long)chance(),
	           (unsigned long long)chance());
	ck_assert(jwt_make(key, (struct str){ claims.at, claims.len }, &token));
	struct str view = { token.at, token.len };
	ck_assert_msg(jwt_read(view, &rules, &arena, &jwt, &why), "%s", why);
	for (size_t bit = chance_below(8); bit < 8 * token.len; bit += 1 + chance_below(12)) {
		token.at[bit / 8] = (char)(token.at[bit / 8] ^ 1 << bit % 8);
		ck_assert_msg(!jwt_read(view, &rules, &arena, &jwt, &why), "bit %zu of %.*s", bit, STR_ARG(view));
		token.at[bit / 8] = (char)(token.at[bit / 8] ^ 1 << bit % 8);
	}
	sign_key_free(key);
	buf_free(&secret);
	buf_free(&open);
	buf_free(&claims);
	buf_free(&token);
}
END_TEST

/* -- digests ------------------------------------------------------------------------------------------------------------------ */
START_TEST(a_digest_knows_no_order_and_forgets_what_leaves)
{
	char names[200][ROOM_MAX];
	struct str rooms[200];
	uint64_t epochs[200];
	struct digest forth = { 0 }, back = { 0 }, none = { 0 };

	for (size_t i = 0; i < 200; i++) {
		rooms[i] = room_by_chance(names[i]);
		epochs[i] = chance() % EPOCH_MAX;
	}
	for (size_t i = 0; i < 200; i++) {
		digest_toggle(&forth, rooms[i].at, rooms[i].len, epochs[i], true);
		digest_toggle(&back, rooms[199 - i].at, rooms[199 - i].len, epochs[199 - i], true);
	}
	ck_assert(forth.sum == back.sum && forth.count == back.count && forth.count == 200);
	digest_toggle(&back, rooms[7].at, rooms[7].len, epochs[7], false);
	digest_toggle(&back, rooms[7].at, rooms[7].len, epochs[7] + 1, true);
	ck_assert(forth.sum != back.sum && forth.count == back.count);
	for (size_t i = 0; i < 200; i++)
		digest_toggle(&forth, rooms[i].at, rooms[i].len, epochs[i], false);
	ck_assert(forth.sum == none.sum && forth.count == none.count);
}
END_TEST

/* -- frames ------------------------------------------------------------------------------------------------------------------- */
static size_t add_frame(struct buf *out, bool masked)
{
	static const size_t sizes[] = { 0, 1, 125, 126, 127, 300, 65535, 65536, 70000 };
	static char payload[70000];
	struct buf frame = { 0 };
	uint8_t opcode = (uint8_t)(chance_below(2) ? 8 + chance_below(3) : chance_below(3));
	size_t len = opcode >= 8 ? chance_below(126) : sizes[chance_below(9)], head;

	ws_frame_out(&frame, opcode, opcode >= 8 || chance_below(2), (struct str){ payload, len });
	head = frame.len - len;
	frame.at[1] = (char)(frame.at[1] | (masked ? 0x80 : 0));
	buf_add(out, frame.at, head);
	if (masked)
		buf_add(out, "mask", 4);
	buf_add(out, payload, len);
	buf_free(&frame);
	return head + (masked ? 4 : 0) + len;
}

static void count_frame(void *arg, const struct ws_frame *f)
{
	(void)f;
	++*(size_t *)arg;
}

START_TEST(frames_end_where_they_end_however_they_are_cut)
{
	for (int round = 0; round < 30; round++) {
		struct buf stream = { 0 };
		size_t ends[20], n = 1 + chance_below(20), at = 0, frames = 0;
		struct ws_rules unjudged = { 0 };
		struct ws_track track = { 0 };
		struct ws_reader reader = { .max = 70000 };
		for (size_t i = 0; i < n; i++)
			ends[i] = (i ? ends[i - 1] : 0) + add_frame(&stream, _i);
		while (at < stream.len) {
			size_t piece = 1 + chance_below(chance_below(4) ? 20 : 50000), end = 0, passed = at - track.have;
			piece = piece < stream.len - at ? piece : stream.len - at;
			while (ends[end] < passed)
				end++;
			bool boundary = !passed || ends[end] == passed;
			ck_assert(ws_at_boundary(&track) == boundary && (boundary || !track.have));
			ck_assert_uint_eq(ws_to_boundary(&track, piece), boundary ? 0 : ends[end] - at < piece ? ends[end] - at : piece);
			ck_assert(ws_read(&reader, stream.at + at, piece, count_frame, &frames));
			ws_track(&track, &unjudged, stream.at + at, piece);
			at += piece;
		}
		ck_assert(ws_at_boundary(&track) && !track.have && frames == n && !reader.pending.len);
		buf_free(&reader.pending);
		buf_free(&stream);
	}
}
END_TEST

/* -- networks ----------------------------------------------------------------------------------------------------------------- */
static struct sockaddr_storage v4(uint32_t host)
{
	struct sockaddr_storage out = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)(void *)&out;

	*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(8080), .sin_addr.s_addr = htonl(host) };
	return out;
}

static bool contain(const char *list, const struct sockaddr_storage *to)
{
	struct networks *nets = networks_new(list);
	bool found = networks_contain(nets, to);

	networks_free(nets);
	return found;
}

START_TEST(a_network_has_what_arithmetic_says)
{
	char list[64], text[INET6_ADDRSTRLEN];

	for (int round = 0; round < 20000; round++) {
		unsigned bits = (unsigned)chance_below(33);
		uint32_t net = (uint32_t)chance(), mask = bits ? UINT32_MAX << (32 - bits) : 0;
		uint32_t host = chance_below(2) ? (uint32_t)chance() : net ^ (uint32_t)(chance() & UINT32_MAX >> chance_below(32));
		struct in_addr address = { htonl(net) };
		struct sockaddr_storage to = v4(host);
		snprintf(list, sizeof(list), "%s/%u", inet_ntop(AF_INET, &address, text, sizeof(text)), bits);
		ck_assert_msg(contain(list, &to) == ((net & mask) == (host & mask)), "%s and %08x", list, host);
	}
	for (int round = 0; round < 5000; round++) {
		unsigned char net[16], host[16];
		unsigned bits = (unsigned)chance_below(129), same = 0;
		struct sockaddr_storage to = { 0 };
		chance_bytes(net, 16);
		net[0] = host[0] = 0x26; /* nothing that stands for an IPv4 address */
		memcpy(host, net, 16);
		host[1 + chance_below(15)] ^= (unsigned char)(1 << chance_below(8));
		while (same < 128 && !((net[same / 8] ^ host[same / 8]) >> (7 - same % 8) & 1))
			same++;
		to.ss_family = AF_INET6;
		memcpy(&((struct sockaddr_in6 *)(void *)&to)->sin6_addr, host, 16);
		snprintf(list, sizeof(list), "%s/%u", inet_ntop(AF_INET6, net, text, sizeof(text)), bits);
		ck_assert_msg(contain(list, &to) == (same >= bits), "%s, %u bits the same", list, same);
	}
}
END_TEST

/* The special-purpose registries of IANA (RFC 6890), by hand: what may never be reached though all networks are allowed. */
static bool never_v4(uint32_t a)
{
	static const uint32_t metadata[] = { 0xa9fea9fe, 0xa9feaa02, 0xa9feaa17, 0xa83f8110, 0xc00000c0, 0x646464c8 };

	for (size_t i = 0; i < sizeof(metadata) / sizeof(*metadata); i++)
		if (a == metadata[i])
			return true;
	return a >> 24 == 0 || a >> 28 == 14 || a >> 28 == 15 || a >> 16 == 0xa9fe; /* this host, multicast, reserved, link-local */
}

START_TEST(no_list_opens_what_is_never_meant)
{
	static const uint32_t near[] = { 0x00000000, 0x01000000, 0xe0000000, 0xdfffffff, 0xf0000000, 0xffffffff, 0xa9fe0000, 0xa9feffff, 0xa9ff0000, 0xa9fea9fe,
		                         0xa9fea9fd, 0x646464c8, 0x646464c7, 0xc00000c0, 0xa83f8110, 0x7f000001, 0x0a000001 };
	static const char *const forms[] = { "::ffff:%u.%u.%u.%u", "::ffff:0:%u.%u.%u.%u", "64:ff9b::%u.%u.%u.%u", "2002:%02x%02x:%02x%02x::1" };
	struct egress *all = egress_new("0.0.0.0/0,::/0");
	char text[64];

	for (size_t round = 0; round < 20000; round++) {
		uint32_t a = round < 17 ? near[round] : (uint32_t)chance();
		struct sockaddr_storage to = v4(a), mapped;
		bool allowed = egress_allowed(all, &to);
		ck_assert_msg(allowed == !never_v4(a), "%08x", a);
		snprintf(text, sizeof(text), forms[round % 4], a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255); /* the same within IPv6 */
		ck_assert(address_parse(str_of(text), &mapped));
		((struct sockaddr_in6 *)(void *)&mapped)->sin6_port = htons(8080);
		ck_assert_msg(egress_allowed(all, &mapped) == allowed, "%s", text);
	}
	egress_free(all);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("properties");
	TCase *c = tcase_create("base");

	chance_begin();
	tcase_set_timeout(c, 30);
	tcase_add_checked_fixture(c, NULL, teardown);
	tcase_add_test(c, what_is_encoded_is_decoded);
	tcase_add_test(c, no_bit_of_a_ticket_can_be_another);
	tcase_add_loop_test(c, no_bit_of_a_jwt_can_be_another, 0, 3);
	tcase_add_test(c, a_digest_knows_no_order_and_forgets_what_leaves);
	tcase_add_loop_test(c, frames_end_where_they_end_however_they_are_cut, 0, 2);
	tcase_add_test(c, a_network_has_what_arithmetic_says);
	tcase_add_test(c, no_list_opens_what_is_never_meant);
	suite_add_tcase(s, c);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
