/* SPDX-License-Identifier: Apache-2.0 */
/* wss:// towards an SFU: a blocking TLS server on a thread of its own, its certificate made for the test. */
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>

#include "base/arena.h"
#include "base/link.h"
#include "base/tunnel.h"
#include "base/wait.h"
#include "base/ws.h"
#include "certs.h"
#include "peer.h"

#define BIG 3000000

static struct loop *loop;
static struct tunnels *set;
static struct peer clients;
static struct arena arena;
static SSL_CTX *ctx;
static int listener;
static uint16_t port;
static pthread_t thread;
static char trusted[] = "/tmp/usher-test-XXXXXX";

static void start_server(const char *names, bool trust)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = make_cert(key, &(struct made){ .common = "test", .names = names });
	int fd = mkstemp(trusted);
	FILE *file = fdopen(fd, "w");

	if (trust)
		PEM_write_X509(file, cert);
	fclose(file);
	setenv("SSL_CERT_FILE", trusted, 1);
	ctx = SSL_CTX_new(TLS_server_method());
	SSL_CTX_use_certificate(ctx, cert);
	SSL_CTX_use_PrivateKey(ctx, key);
	X509_free(cert);
	EVP_PKEY_free(key);
	listener = listen_anywhere(&port);
	fcntl(listener, F_SETFL, 0);
}

/* Answers the handshake and one early word, then sends back all it gets until the end. */
static void *serve(void *arg)
{
	char bytes[16384], accept_key[29], answer[300];
	int fd = accept(listener, NULL, NULL), n;
	SSL *ssl = SSL_new(ctx);

	(void)arg;
	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1 && (n = SSL_read(ssl, bytes, sizeof(bytes) - 1)) > 0) {
		bytes[n] = '\0';
		const char *key = strstr(bytes, "Sec-WebSocket-Key: ");
		assert(key);
		ws_accept_key((struct str){ key + 19, 24 }, accept_key);
		n = snprintf(answer, sizeof(answer), "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\nearly",
		             accept_key);
		SSL_write(ssl, answer, n);
		while ((n = SSL_read(ssl, bytes, sizeof(bytes))) > 0)
			SSL_write(ssl, bytes, n);
		SSL_shutdown(ssl);
	}
	SSL_free(ssl);
	close(fd);
	return NULL;
}

static void setup(void)
{
	struct tunnels_conf conf = { .buffer_bytes = 4096, .idle_ms = 60000, .close_ms = 1000, .max = 10 };

	loop = loop_new();
	set = tunnels_new(loop, &conf);
	clients = (struct peer){ .loop = loop };
}

static void teardown(void)
{
	tunnels_free(set);
	peer_free(&clients);
	loop_free(loop);
	arena_reset(&arena);
	pthread_join(thread, NULL);
	SSL_CTX_free(ctx);
	close(listener);
	unlink(trusted);
}

struct dialing {
	struct wait wait;
	struct dial_answer answer;
	bool done;
};

static void woken(struct wait *w, int err)
{
	(void)err;
	container_of(w, struct dialing, wait)->done = true;
}

static void dial(struct dialing *d, const char *host)
{
	char url[64];
	struct dial_plan plan = { .url = url, .connect_timeout_ms = 5000, .answer_timeout_ms = 5000 };

	pthread_create(&thread, NULL, serve, NULL);
	snprintf(url, sizeof(url), "wss://%s:%u/", host, port);
	*d = (struct dialing){ .wait.wake = woken };
	ck_assert_int_eq(tunnel_dial(set, &plan, &arena, &d->answer, &d->wait), WAIT);
	UNTIL(loop, d->done);
}

static bool over;
static void ended(void *arg, const struct tunnel_end *end)
{
	(void)arg, (void)end;
	over = true;
}

START_TEST(tls_tunnel_carries_both_ways)
{
	struct dialing d;
	struct buf up = { 0 };
	int pair[2];

	start_server("IP:127.0.0.1,DNS:localhost", true);
	dial(&d, _i ? "localhost" : "127.0.0.1");
	ck_assert_int_eq(d.answer.outcome, HTTP_ANSWERED);
	ck_assert_int_eq(d.answer.status, 101);
	while (up.len < BIG)
		buf_printf(&up, "%zu,", up.len * 7919);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	struct peer_conn *client = peer_adopt(&clients, pair[0]);
	tunnel_join(set, d.answer.peer, &(struct link){ .fd = pair[1] }, (struct str){ 0 }, ended, NULL);
	peer_send(client, up.at, up.len);
	UNTIL(loop, client->in.len == up.len + 5);
	ck_assert_mem_eq(client->in.at, "early", 5);
	ck_assert_int_eq(memcmp(client->in.at + 5, up.at, up.len), 0);
	peer_finish(client);
	UNTIL(loop, client->eof && over);
	buf_free(&up);
}
END_TEST

START_TEST(wrong_certificates_are_refused)
{
	struct dialing d;

	start_server(_i ? "IP:127.0.0.1" : "DNS:other.example", !_i);
	dial(&d, "127.0.0.1");
	ck_assert_int_eq(d.answer.outcome, HTTP_REFUSED);
	ck_assert_ptr_null(d.answer.peer);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tunnel_tls");
	TCase *c = tcase_create("tunnel_tls");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 40);
	tcase_add_loop_test(c, tls_tunnel_carries_both_ways, 0, 2);
	tcase_add_loop_test(c, wrong_certificates_are_refused, 0, 2);
	suite_add_tcase(suite, c);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
