/* SPDX-License-Identifier: Apache-2.0 */
/* TLS towards SFUs (wss:// in a node's signal_url): what dialing adds to a link. */
#include <openssl/x509v3.h>

#include "base/tunnel_private.h"

/* -- TLS ----------------------------------------------------------------------------------------------------------- */
SSL_CTX *link_tls_new(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_default_verify_paths(ctx); /* SSL_CERT_FILE and SSL_CERT_DIR count */
	return ctx;
}

bool link_tls_start(struct link *l, SSL_CTX *ctx, const char *host, bool numeric)
{
	l->ssl = SSL_new(ctx);
	if (!l->ssl || !SSL_set_fd(l->ssl, l->fd))
		return false;
	SSL_set_connect_state(l->ssl);
	if (numeric)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(l->ssl), host);
	return SSL_set_tlsext_host_name(l->ssl, host) && SSL_set1_host(l->ssl, host);
}

int link_tls_shake(struct link *l, const char **why)
{
	int outcome = link_shake(l, why);
	long verified = SSL_get_verify_result(l->ssl);

	if (outcome == LINK_BROKEN && verified != X509_V_OK)
		*why = X509_verify_cert_error_string(verified);
	return outcome;
}
