/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/ssl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>

#include "base/link.h"
#include "base/tls.h"
#include "bridge.h"
#include "certs.h"
#include "peer.h"

struct bridge {
	struct bridge *next;
	struct link raw, tls;
	struct watch *raw_watch, *tls_watch;
	bool open, dead, raw_ended, tls_ended, raw_shut, tls_shut;
};
static struct bridge *all;
static struct tls *server;
static SSL_CTX *client;
static char block[65536];

bool bridge_wanted(void)
{
	return getenv("USHER_TEST_TLS") != NULL;
}

const struct tls *bridge_server(void)
{
	char directory[] = "/tmp/usher-test-XXXXXX";

	if (server || !bridge_wanted())
		return server;
	ck_assert_ptr_nonnull(mkdtemp(directory));
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = make_cert(key, &(struct made){ .common = "test" });
	char *cert_path = made_path(directory, "cert"), *key_path = made_path(directory, "key");
	write_cert(cert_path, cert);
	write_key(key_path, key, 0600, NULL);
	server = tls_read(&(struct tls_conf){ .cert = cert_path, .key = key_path }, stderr);
	ck_assert_ptr_nonnull(server);
	unlink(cert_path);
	unlink(key_path);
	rmdir(directory);
	free(cert_path);
	free(key_path);
	X509_free(cert);
	EVP_PKEY_free(key);
	return server;
}

static void end(struct bridge *b, bool reset)
{
	struct linger now = { 1, 0 };

	if (b->dead)
		return;
	b->dead = true;
	watch_free(b->raw_watch);
	watch_free(b->tls_watch);
	if (reset)
		setsockopt(b->tls.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	link_close(&b->raw);
	link_close(&b->tls);
}

static int loop_events(unsigned events)
{
	return (events & EPOLLIN ? LOOP_READ : 0) | (events & EPOLLOUT ? LOOP_WRITE : 0);
}

/* False: it broke. */
static bool carry(struct link *from, struct link *to, bool *ended)
{
	if (!link_flush(to))
		return false;
	while (!*ended && !link_stuck(to)) {
		ssize_t n = link_read(from, block, sizeof(block));
		if (n == LINK_AGAIN || n == LINK_AGAIN_WRITE)
			break;
		if (n == LINK_BROKEN || (n > 0 && !link_put(to, block, (size_t)n)))
			return false;
		*ended = n == LINK_END;
	}
	return true;
}

static void shuffle(struct bridge *b)
{
	if (!carry(&b->raw, &b->tls, &b->raw_ended) || !carry(&b->tls, &b->raw, &b->tls_ended)) {
		end(b, true);
		return;
	}
	if (b->raw_ended && !link_stuck(&b->tls) && !b->tls_shut)
		b->tls_shut = link_finish(&b->tls);
	if (b->tls_ended && !link_stuck(&b->raw) && !b->raw_shut)
		b->raw_shut = link_finish(&b->raw);
	if (b->tls_shut && b->raw_shut) {
		end(b, false);
		return;
	}
	watch_set(b->raw_watch, loop_events(link_events(&b->raw, !b->raw_ended && !link_stuck(&b->tls), link_stuck(&b->raw))));
	watch_set(b->tls_watch, loop_events(link_events(&b->tls, !b->tls_ended && !link_stuck(&b->raw),
	                                                link_stuck(&b->tls) || (b->raw_ended && !b->tls_shut))));
}

static void event(void *arg, int events)
{
	struct bridge *b = arg;
	const char *why;

	(void)events;
	if (!b->open) {
		int outcome = link_shake(&b->tls, &why);
		b->open = !outcome;
		if (outcome == LINK_BROKEN)
			end(b, false);
		else if (outcome)
			watch_set(b->tls_watch, outcome == LINK_AGAIN_WRITE ? LOOP_WRITE : LOOP_READ);
	}
	if (b->open && !b->dead)
		shuffle(b);
}

static void free_the_dead(void)
{
	for (struct bridge **at = &all, *b; (b = *at);) {
		if (!b->dead) {
			at = &b->next;
			continue;
		}
		*at = b->next;
		free(b);
	}
}

int bridge_new(struct loop *loop, int server_fd)
{
	struct bridge *b = calloc(1, sizeof(*b));
	uint16_t port;
	int lfd = listen_anywhere(&port), ours = connect_to(port);

	free_the_dead();
	signal(SIGPIPE, SIG_IGN);
	if (!client) {
		client = SSL_CTX_new(TLS_client_method());
		SSL_CTX_set_mode(client, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
		SSL_CTX_set_options(client, SSL_OP_IGNORE_UNEXPECTED_EOF);
	}
	b->raw.fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	close(lfd);
	fix_sizes(b->raw.fd);
	fix_sizes(ours);
	for (int on = 1, i = 0; i < 3; i++)
		setsockopt((int[]){ b->raw.fd, ours, server_fd }[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	b->tls = (struct link){ .fd = server_fd, .ssl = SSL_new(client) };
	SSL_set_fd(b->tls.ssl, server_fd);
	SSL_set_connect_state(b->tls.ssl);
	b->next = all;
	all = b;
	b->raw_watch = watch_new(loop, b->raw.fd, 0, event, b);
	b->tls_watch = watch_new(loop, b->tls.fd, LOOP_WRITE, event, b);
	UNTIL(loop, b->open || b->dead);
	return ours;
}

void bridge_free(void)
{
	for (struct bridge *b = all, *next; b; b = next) {
		next = b->next;
		end(b, false);
		free(b);
	}
	all = NULL;
	SSL_CTX_free(client);
	client = NULL;
	tls_free(server);
	server = NULL;
}
