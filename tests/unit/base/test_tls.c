/* SPDX-License-Identifier: Apache-2.0 */
/* What is read from files, and what is said of those that do not fit; handshakes over a pair of sockets. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/link.h"
#include "base/str.h"
#include "base/tls.h"
#include "certs.h"

static char directory[32], *cert_path, *key_path, *ca_path;
static EVP_PKEY *key, *ca_key;
static X509 *cert, *ca;
static struct tls_conf conf;
static char words[600];

static void setup(void)
{
	strcpy(directory, "/tmp/usher-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	cert_path = made_path(directory, "cert.pem");
	key_path = made_path(directory, "key.pem");
	ca_path = made_path(directory, "ca.pem");
	key = EVP_EC_gen("P-256");
	ca_key = EVP_EC_gen("P-256");
	ca = make_cert(ca_key, &(struct made){ .common = "CA", .until = 100 * DAY, .ca = true });
	cert = make_cert(key, &(struct made){ .common = "router", .names = "DNS:localhost", .issuer = ca, .issuer_key = ca_key, .until = 50 * DAY });
	write_cert(cert_path, cert);
	write_key(key_path, key, 0600, NULL);
	write_cert(ca_path, ca);
	conf = (struct tls_conf){ .cert = cert_path, .key = key_path };
}

static void teardown(void)
{
	char *const paths[] = { cert_path, key_path, ca_path };

	for (int i = 0; i < 3; i++) {
		unlink(paths[i]);
		free(paths[i]);
	}
	rmdir(directory);
	X509_free(cert);
	X509_free(ca);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca_key);
}

static struct tls *take(void)
{
	FILE *err = fmemopen(words, sizeof(words), "w");

	memset(words, 0, sizeof(words));
	struct tls *tls = tls_read(&conf, err);
	fclose(err);
	return tls;
}

static void refused(const char *setting, const char *path, const char *said)
{
	char begin[200];

	snprintf(begin, sizeof(begin), "%s: %s ", setting, path);
	ck_assert_ptr_null(take());
	ck_assert_msg(!strncmp(words, begin, strlen(begin)) && strstr(words, said) && words[strlen(words) - 1] == '\n', "%s", words);
}

static void new_cert(const struct made *how)
{
	X509_free(cert);
	cert = make_cert(key, how);
	write_cert(cert_path, cert);
}

/* -- reading ---------------------------------------------------------------------------------------------------------- */
START_TEST(the_first_end_of_the_chain_counts)
{
	struct tls *tls = take();
	uint64_t now_ms = wall_ms(), day_ms = DAY * 1000;

	ck_assert_ptr_nonnull(tls);
	ck_assert_uint_le(tls_ends_ms(tls), now_ms + 50 * day_ms);
	ck_assert_uint_ge(tls_ends_ms(tls), now_ms + 50 * day_ms - 10000);
	tls_free(tls);

	X509 *soon = make_cert(ca_key, &(struct made){ .common = "CA", .until = 9 * DAY, .ca = true });
	FILE *file = fopen(cert_path, "a");
	PEM_write_X509(file, soon);
	fclose(file);
	X509_free(soon);
	tls = take();
	ck_assert_ptr_nonnull(tls);
	ck_assert_uint_le(tls_ends_ms(tls), now_ms + 9 * day_ms + 10000);
	tls_free(tls);
}
END_TEST

START_TEST(what_does_not_fit_is_said)
{
	EVP_PKEY *other = EVP_EC_gen("P-256");

	conf.cert = "/nonexistent/cert.pem";
	refused("tls.cert", conf.cert, "is not there");
	conf.cert = key_path;
	refused("tls.cert", conf.cert, "BEGIN CERTIFICATE");
	conf.cert = cert_path;
	conf.key = "/nonexistent/key.pem";
	refused("tls.key", conf.key, "cannot be opened");
	conf.key = key_path;
	write_key(key_path, other, 0600, NULL);
	refused("tls.key", key_path, "not the key of the certificate");
	write_key(key_path, key, 0644, NULL);
	refused("tls.key", key_path, "0600");
	write_key(key_path, key, 0600, "secret");
	refused("tls.key", key_path, "passphrase");
	fclose(made_file(key_path, 0600));
	refused("tls.key", key_path, "BEGIN PRIVATE KEY");
	write_key(key_path, key, 0600, NULL);
	conf.client_ca = key_path;
	refused("tls.client_ca", key_path, "BEGIN CERTIFICATE");
	conf.client_ca = "/nonexistent/ca.pem";
	refused("tls.client_ca", conf.client_ca, "is not there");
	EVP_PKEY_free(other);
}
END_TEST

START_TEST(what_is_not_in_its_time_is_said)
{
	new_cert(&(struct made){ .common = "old", .from = -2 * DAY, .until = -60 });
	refused("tls.cert", cert_path, "has expired: it was valid until 20");
	new_cert(&(struct made){ .common = "young", .from = DAY, .until = 2 * DAY });
	refused("tls.cert", cert_path, "is not valid before 20");
}
END_TEST

START_TEST(a_weak_key_is_refused)
{
	EVP_PKEY_free(key);
	key = EVP_RSA_gen(512);
	new_cert(&(struct made){ .common = "weak" });
	write_key(key_path, key, 0600, NULL);
	refused("tls.cert", cert_path, "too small");
}
END_TEST

/* -- handshakes ------------------------------------------------------------------------------------------------------- */
static struct link ours, theirs;
static SSL_CTX *client;

static void meet(const struct tls *tls)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	ours = (struct link){ .fd = pair[0], .ssl = tls_accept(tls, pair[0]) };
	theirs = (struct link){ .fd = pair[1], .ssl = SSL_new(client) };
	SSL_set_fd(theirs.ssl, pair[1]);
	SSL_set_connect_state(theirs.ssl);
}

/* 0, or what our side says of it. */
static const char *shake(const struct tls *tls)
{
	const char *why = NULL, *far = NULL;
	int here = LINK_AGAIN, there = LINK_AGAIN;

	meet(tls);
	for (int i = 0; i < 10 && (here == LINK_AGAIN || there == LINK_AGAIN); i++) {
		if (there == LINK_AGAIN)
			there = link_shake(&theirs, &far);
		if (here == LINK_AGAIN)
			here = link_shake(&ours, &why);
	}
	return here ? why ? why : "no end" : NULL;
}

static void part(void)
{
	link_close(&ours);
	link_close(&theirs);
	SSL_CTX_free(client);
	client = SSL_CTX_new(TLS_client_method());
}

START_TEST(versions_and_protocols)
{
	struct tls *tls = take();
	static const unsigned char h2[] = { 2, 'h', '2' }, both[] = { 2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1' };
	const unsigned char *chosen;
	unsigned len;

	client = SSL_CTX_new(TLS_client_method());
	ck_assert_ptr_null(shake(tls));
	ck_assert_str_eq(SSL_get_version(ours.ssl), "TLSv1.3");
	ck_assert_int_eq(SSL_session_reused(ours.ssl), 0);
	part();
	SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
	ck_assert_ptr_null(shake(tls));
	ck_assert_str_eq(SSL_get_version(ours.ssl), "TLSv1.2");
	ck_assert(!SSL_get_current_compression(ours.ssl));
	part();
	SSL_CTX_set_security_level(client, 0);
	SSL_CTX_set_max_proto_version(client, TLS1_1_VERSION);
	ck_assert_str_eq(shake(tls), "unsupported protocol");
	part();
	SSL_CTX_set_alpn_protos(client, both, sizeof(both));
	ck_assert_ptr_null(shake(tls));
	SSL_get0_alpn_selected(ours.ssl, &chosen, &len);
	ck_assert(str_is((struct str){ (const char *)chosen, len }, "http/1.1"));
	part();
	SSL_CTX_set_alpn_protos(client, h2, sizeof(h2));
	ck_assert_str_eq(shake(tls), "no application protocol");
	part();
	tls_free(tls);
	conf.min_version = TLS_1_3;
	tls = take();
	SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
	ck_assert_str_eq(shake(tls), "unsupported protocol");
	part();
	SSL_CTX_free(client);
	tls_free(tls);
}
END_TEST

START_TEST(no_tickets_are_given)
{
	struct tls *tls = take();
	char byte;

	client = SSL_CTX_new(TLS_client_method());
	ck_assert_ptr_null(shake(tls));
	ck_assert(link_put(&ours, "x", 1));
	ck_assert_int_eq(link_read(&theirs, &byte, 1), 1); /* a ticket would have come before it */
	ck_assert(!SSL_SESSION_is_resumable(SSL_get0_session(theirs.ssl)));
	part();
	SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
	ck_assert_ptr_null(shake(tls));
	ck_assert(!SSL_SESSION_has_ticket(SSL_get0_session(theirs.ssl)));
	part();
	SSL_CTX_free(client);
	tls_free(tls);
}
END_TEST

/* Who reads nothing stops us in the middle of a record; it goes on from there, whatever lies where the bytes were. */
START_TEST(a_full_socket_stops_a_record_halfway)
{
	struct tls *tls = take();
	static char sent[1000000], got[sizeof(sent)];
	size_t len = 0;
	ssize_t n;

	client = SSL_CTX_new(TLS_client_method());
	ck_assert_ptr_null(shake(tls));
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (char)(i * 7919 >> 8);
	char *moved = malloc(sizeof(sent));
	memcpy(moved, sent, sizeof(sent));
	ck_assert(link_put(&ours, moved, sizeof(sent)));
	memset(moved, 0, sizeof(sent));
	free(moved);
	ck_assert_uint_gt(link_stuck(&ours), 16384);
	while (len < sizeof(got)) {
		n = link_read(&theirs, got + len, sizeof(got) - len);
		ck_assert(n > 0 || n == LINK_AGAIN);
		len += n > 0 ? (size_t)n : 0;
		ck_assert(link_flush(&ours));
	}
	ck_assert_uint_eq(link_stuck(&ours), 0);
	ck_assert_int_eq(memcmp(sent, got, sizeof(sent)), 0);
	part();
	SSL_CTX_free(client);
	tls_free(tls);
}
END_TEST

START_TEST(an_end_waits_for_room_and_is_no_break)
{
	struct tls *tls = take();
	static char bytes[16384];
	bool finished = false;
	ssize_t n;

	client = SSL_CTX_new(TLS_client_method());
	ck_assert_ptr_null(shake(tls));
	while (send(ours.fd, "", 0, MSG_DONTWAIT) == 0 && link_put(&ours, bytes, sizeof(bytes)) && !link_stuck(&ours))
		;
	ck_assert_uint_gt(link_stuck(&ours), 0);
	while ((n = link_read(&theirs, bytes, sizeof(bytes))) != LINK_END) {
		ck_assert(n > 0 || n == LINK_AGAIN);
		ck_assert(link_flush(&ours));
		if (!link_stuck(&ours) && !finished)
			finished = link_finish(&ours);
	}
	ck_assert(finished);
	ck_assert_int_eq(SSL_get_shutdown(theirs.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
	part();
	SSL_CTX_free(client);
	tls_free(tls);
}
END_TEST

START_TEST(faults_of_others_are_not_a_links)
{
	struct tls *tls = take();
	char byte;

	client = SSL_CTX_new(TLS_client_method());
	ck_assert_ptr_null(shake(tls));
	ERR_raise(ERR_LIB_USER, 1); /* a signature that was wrong, say */
	ck_assert_int_eq(link_read(&ours, &byte, 1), LINK_AGAIN);
	ck_assert(link_put(&theirs, "x", 1));
	ERR_raise(ERR_LIB_USER, 1);
	ck_assert_int_eq(link_read(&ours, &byte, 1), 1);
	part();
	SSL_CTX_free(client);
	tls_free(tls);
}
END_TEST

/* A hello of some 10 KB. */
static void speak_much(void)
{
	static unsigned char protocols[40 * 256];

	for (size_t i = 0; i < sizeof(protocols); i += 256) {
		memset(protocols + i, 'x', 256);
		protocols[i] = 255;
	}
	memcpy(protocols, "\x08http/1.1\xf6", 10);
	SSL_CTX_set_alpn_protos(client, protocols, sizeof(protocols));
}

static size_t unread(int fd)
{
	int n = 0;

	ioctl(fd, FIONREAD, &n);
	return (size_t)n;
}

/* Each byte of it in a record of its own. */
static void send_in_crumbs(int fd)
{
	SSL *ssl = SSL_new(client);
	BIO *from = BIO_new(BIO_s_mem());
	unsigned char hello[16384 + 5], crumb[] = { 22, 3, 1, 0, 1, 0 };
	int size = 1 << 24;

	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), from);
	SSL_connect(ssl);
	int n = BIO_read(from, hello, sizeof(hello));
	ck_assert_int_gt(n, 10000);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	for (int i = 5; i < n; i++) {
		crumb[5] = hello[i];
		if (send(fd, crumb, sizeof(crumb), MSG_DONTWAIT) < 0)
			break; /* there is room for so many small ones */
	}
	SSL_free(ssl);
}

START_TEST(a_handshake_in_crumbs_holds_nobody_up)
{
	struct tls *tls = take();
	const char *why = NULL;
	int outcome = LINK_AGAIN;
	size_t all = 0;

	client = SSL_CTX_new(TLS_client_method());
	speak_much();
	ck_assert_ptr_null(shake(tls));
	part();
	speak_much();
	meet(tls);
	while (outcome == LINK_AGAIN) {
		if (unread(ours.fd) < 8192)
			send_in_crumbs(theirs.fd);
		size_t before = unread(ours.fd);
		outcome = link_shake(&ours, &why);
		size_t taken = before - unread(ours.fd);
		ck_assert_uint_gt(taken, 0);
		ck_assert_uint_le(taken, 4096 + 8);
		all += taken;
	}
	ck_assert_str_eq(why, "too long a handshake");
	ck_assert_uint_le(all, 32768 + 4096);
	part();
	SSL_CTX_free(client);
	tls_free(tls);
}
END_TEST

/* -- who it is ---------------------------------------------------------------------------------------------------------- */
static const struct shown {
	const char *common, *names, *name, *why;
	long until;
	bool foreign;
} shown[] = {
	{ "other", "DNS:sfu-1", "sfu-1", NULL },
	{ "sfu-2", NULL, "sfu-2", NULL },
	{ "sfu-2", "IP:127.0.0.1", "", "it names no node" },                 /* names, but none of a node: the CN counts no more */
	{ NULL, "DNS:*.example,URI:spiffe://x/y,DNS:sfu-3,DNS:sfu-4", "sfu-3", NULL },
	{ "not a node", NULL, "", "it names no node" },
	{ NULL, "DNS:sfu-1", "", "certificate has expired", .until = -30 },
	{ NULL, "DNS:sfu-1", "", "unable to get local issuer certificate", .foreign = true },
};

START_TEST(a_client_is_who_its_certificate_names)
{
	const struct shown *row = &shown[_i];
	EVP_PKEY *own = EVP_EC_gen("P-256"), *foreign_key = EVP_EC_gen("P-256");
	X509 *foreign = make_cert(foreign_key, &(struct made){ .common = "else", .ca = true });
	struct made how = { .common = row->common, .names = row->names, .issuer = row->foreign ? foreign : ca,
		            .issuer_key = row->foreign ? foreign_key : ca_key, .from = -DAY, .until = row->until };
	X509 *its = make_cert(own, &how);
	struct tls_peer peer;

	conf.client_ca = ca_path;
	struct tls *tls = take();
	client = SSL_CTX_new(TLS_client_method());
	SSL_CTX_use_certificate(client, its);
	SSL_CTX_use_PrivateKey(client, own);
	ck_assert_ptr_null(shake(tls)); /* whatever it shows */
	ck_assert(tls_peer_read(ours.ssl, &peer));
	ck_assert_str_eq(peer.name, row->name);
	ck_assert(row->why ? peer.why && !strcmp(peer.why, row->why) : !peer.why);
	ck_assert_uint_ne(peer.ends_ms, 0);
	ck_assert(tls_made(tls, ours.ssl));
	if (row->foreign) /* the first fault was the last: nothing of it was computed */
		ck_assert_int_eq(SSL_get_verify_result(ours.ssl), X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
	part();
	ck_assert_ptr_null(shake(tls));
	ck_assert(!tls_peer_read(ours.ssl, &peer)); /* none is fine */
	part();
	SSL_CTX_free(client);
	tls_free(tls);
	X509_free(its);
	X509_free(foreign);
	EVP_PKEY_free(own);
	EVP_PKEY_free(foreign_key);
}
END_TEST

/* A reload: who has begun goes on with what it began with. */
START_TEST(connections_outlive_what_they_were_made_with)
{
	struct tls *tls = take(), *next = take();
	char byte;

	client = SSL_CTX_new(TLS_client_method());
	meet(tls);
	tls_free(tls);
	const char *why;
	while (link_shake(&theirs, &why) == LINK_AGAIN)
		link_shake(&ours, &why);
	ck_assert(!tls_made(next, ours.ssl));
	ck_assert(link_put(&theirs, "x", 1));
	while (link_read(&ours, &byte, 1) != 1)
		;
	part();
	SSL_CTX_free(client);
	tls_free(next);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tls");
	TCase *t = tcase_create("tls");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, the_first_end_of_the_chain_counts);
	tcase_add_test(t, what_does_not_fit_is_said);
	tcase_add_test(t, what_is_not_in_its_time_is_said);
	tcase_add_test(t, a_weak_key_is_refused);
	tcase_add_test(t, versions_and_protocols);
	tcase_add_test(t, no_tickets_are_given);
	tcase_add_test(t, a_full_socket_stops_a_record_halfway);
	tcase_add_test(t, an_end_waits_for_room_and_is_no_break);
	tcase_add_test(t, faults_of_others_are_not_a_links);
	tcase_add_test(t, a_handshake_in_crumbs_holds_nobody_up);
	tcase_add_loop_test(t, a_client_is_who_its_certificate_names, 0, (int)(sizeof(shown) / sizeof(*shown)));
	tcase_add_test(t, connections_outlive_what_they_were_made_with);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
