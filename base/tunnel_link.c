/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor, plain or TLS, behind the same four verbs. TLS is towards SFUs only (wss:// in a node's signal_url): towards
 * clients it is ended before usher. One SSL_read takes a whole record, so that nothing readable hides from epoll in there.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/trust.h"
#include "base/tunnel_private.h"

#define DRAIN_READS 64

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

ssize_t link_read(struct link *l, char *out, size_t max)
{
	if (l->ssl) {
		int n = SSL_read(l->ssl, out, (int)max);
		return n > 0 ? n : tls_outcome(l->ssl, n);
	}
	ssize_t n = recv(l->fd, out, max, MSG_DONTWAIT);
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR ? LINK_AGAIN : LINK_BROKEN;
}

ssize_t link_write(struct link *l, const char *bytes, size_t len)
{
	if (l->ssl) {
		int n = SSL_write(l->ssl, bytes, (int)len);
		return n > 0 ? n : tls_outcome(l->ssl, n);
	}
	ssize_t n = send(l->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR ? LINK_AGAIN : LINK_BROKEN;
}

void link_finish(struct link *l)
{
	if (l->ssl) {
		SSL_shutdown(l->ssl);
		ERR_clear_error();
	}
	shutdown(l->fd, SHUT_WR);
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
}

/* -- TLS ----------------------------------------------------------------------------------------------------------- */
bool link_tls_start(struct link *l, SSL_CTX *ctx, const char *host, bool numeric)
{
	l->ssl = SSL_new(ctx);
	if (!l->ssl || !SSL_set_fd(l->ssl, l->fd))
		return false;
	SSL_set_connect_state(l->ssl);
	return (numeric || SSL_set_tlsext_host_name(l->ssl, host)) && trust_name(SSL_get0_param(l->ssl), host);
}

int link_tls_shake(struct link *l, const char **why)
{
	int result = SSL_do_handshake(l->ssl);

	if (result == 1)
		return 0;
	long verified = SSL_get_verify_result(l->ssl);
	unsigned long error = ERR_peek_error();
	ssize_t outcome = tls_outcome(l->ssl, result);
	if (outcome == LINK_AGAIN || outcome == LINK_AGAIN_WRITE)
		return (int)outcome;
	*why = error ? ERR_reason_error_string(error) : "connection closed";
	if (verified != X509_V_OK)
		*why = X509_verify_cert_error_string(verified);
	return LINK_BROKEN;
}
