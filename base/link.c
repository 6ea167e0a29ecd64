/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS may want to write before it can read and the other way round (an answer to a KeyUpdate while the socket is full), and a
 * record that did not go out must be offered again from the same byte on; both are kept here, so that who carries bytes need not
 * know. One SSL_read takes a whole record and no more from the socket, so that nothing readable hides from epoll in there.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/link.h"

#define DRAIN_READS 64
#define SHAKE_READ 4096   /* of a handshake, in one call; and the record that crosses it */
#define SHAKE_MAX 32768   /* and in all: hellos, a chain of certificates, all else is small */

/* OpenSSL judges a call by what any other has left behind on this thread, a wrong signature of somebody else's token say. */
static SSL *fresh(SSL *ssl)
{
	if (ERR_peek_error())
		ERR_clear_error();
	return ssl;
}

static ssize_t tls_outcome(SSL *ssl, int result)
{
	int error = SSL_get_error(ssl, result);

	ERR_clear_error();
	switch (error) {
	case SSL_ERROR_WANT_READ:
		return LINK_AGAIN;
	case SSL_ERROR_WANT_WRITE:
		return LINK_AGAIN_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return LINK_END;
	default:
		return LINK_BROKEN;
	}
}

/*
 * A peer may send its handshake in records of one byte, each of which costs as much as a full one: OpenSSL would go on for as long
 * as there are any. The BIO counts what it has read; how far it may go stands in its callback's argument.
 */
static long ration(BIO *bio, int oper, const char *at, size_t len, int argi, long argl, int result, size_t *processed)
{
	(void)at, (void)len, (void)argi, (void)argl, (void)processed;
	if (oper != BIO_CB_READ || BIO_number_read(bio) < (uintptr_t)BIO_get_callback_arg(bio))
		return result;
	BIO_clear_retry_flags(bio);
	BIO_set_retry_read(bio);
	return -1;
}

static int shake_a_while(SSL *ssl)
{
	BIO *bio = SSL_get_rbio(ssl);

	BIO_set_callback_arg(bio, (char *)(uintptr_t)(BIO_number_read(bio) + SHAKE_READ));
	BIO_set_callback_ex(bio, ration);
	int result = SSL_do_handshake(fresh(ssl));
	BIO_set_callback_ex(bio, NULL);
	return result;
}

int link_shake(struct link *l, const char **why)
{
	int result = shake_a_while(l->ssl);

	if (result == 1)
		return 0;
	if (BIO_number_read(SSL_get_rbio(l->ssl)) >= SHAKE_MAX) {
		*why = "too long a handshake";
		return LINK_BROKEN;
	}
	const char *reason = ERR_reason_error_string(ERR_peek_error());
	ssize_t outcome = tls_outcome(l->ssl, result);
	if (outcome == LINK_AGAIN || outcome == LINK_AGAIN_WRITE)
		return (int)outcome;
	*why = reason ? reason : "connection closed";
	return LINK_BROKEN;
}

static ssize_t tls_read(struct link *l, char *out, size_t max)
{
	int n = SSL_read(fresh(l->ssl), out, (int)max);
	ssize_t got = n > 0 ? n : tls_outcome(l->ssl, n);

	l->read_needs_write = got == LINK_AGAIN_WRITE;
	return got;
}

/* A record at a time, as many as are taken. */
static ssize_t tls_write(struct link *l, const char *bytes, size_t len)
{
	size_t done = 0;
	ssize_t outcome = 0;

	while (done < len) {
		int n = SSL_write(fresh(l->ssl), bytes + done, (int)(len - done));
		outcome = n > 0 ? n : tls_outcome(l->ssl, n);
		if (outcome <= 0)
			break;
		done += (size_t)n;
	}
	l->write_needs_read = outcome == LINK_AGAIN;
	return done && outcome != LINK_BROKEN ? (ssize_t)done : outcome;
}

ssize_t link_read(struct link *l, char *out, size_t max)
{
	if (l->ssl)
		return tls_read(l, out, max);
	ssize_t n = recv(l->fd, out, max, MSG_DONTWAIT);
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR ? LINK_AGAIN : LINK_BROKEN;
}

ssize_t link_write(struct link *l, const char *bytes, size_t len)
{
	if (l->ssl)
		return tls_write(l, bytes, len);
	ssize_t n = send(l->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR ? LINK_AGAIN : LINK_BROKEN;
}

struct str link_rest(const struct link *l)
{
	return l->stuck ? (struct str){ l->stuck->out.at + l->stuck->at, link_stuck(l) } : (struct str){ NULL, 0 };
}

static void keep(struct link *l, const char *bytes, size_t len)
{
	if (!l->stuck)
		l->stuck = calloc(1, sizeof(*l->stuck));
	if (!l->stuck)
		abort();
	buf_add(&l->stuck->out, bytes, len);
}

void link_drop(struct link *l)
{
	if (!l->stuck)
		return;
	buf_free(&l->stuck->out);
	free(l->stuck);
	l->stuck = NULL;
}

bool link_flush(struct link *l)
{
	while (link_stuck(l)) {
		struct str rest = link_rest(l);
		ssize_t n = link_write(l, rest.at, rest.len);
		if (n == LINK_BROKEN || n == LINK_END)
			return false;
		if (n < 0)
			return true;
		l->stuck->at += (size_t)n;
	}
	link_drop(l);
	return true;
}

bool link_put(struct link *l, const char *bytes, size_t len)
{
	ssize_t n = 0;

	if (!len)
		return true;
	if (!link_stuck(l))
		n = link_write(l, bytes, len);
	if (n == LINK_BROKEN)
		return false;
	n = n < 0 ? 0 : n;
	if ((size_t)n < len)
		keep(l, bytes + n, len - (size_t)n);
	return true;
}

bool link_finish(struct link *l)
{
	if (l->ssl) {
		int result = SSL_shutdown(fresh(l->ssl));
		if (result < 0 && tls_outcome(l->ssl, result) == LINK_AGAIN_WRITE)
			return false;
		ERR_clear_error();
	}
	shutdown(l->fd, SHUT_WR);
	return true;
}

void link_close(struct link *l)
{
	char away[4096];

	if (l->fd < 0)
		return;
	for (int i = 0; i < DRAIN_READS && recv(l->fd, away, sizeof(away), MSG_DONTWAIT) > 0; i++)
		;
	SSL_free(l->ssl);
	l->ssl = NULL;
	close(l->fd);
	l->fd = -1;
	link_drop(l);
}

unsigned link_events(const struct link *l, bool reads, bool writes)
{
	unsigned events = 0;

	if (reads)
		events |= l->read_needs_write ? EPOLLOUT : EPOLLIN;
	if (writes)
		events |= l->write_needs_read ? EPOLLIN : EPOLLOUT;
	return events;
}
