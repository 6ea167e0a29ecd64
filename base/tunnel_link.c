/* SPDX-License-Identifier: Apache-2.0 */
/* TLS towards SFUs (wss:// in a node's signal_url): what dialing adds to a link. */
#include <openssl/x509v3.h>

#include "base/trust.h"
#include "base/tunnel_private.h"

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
	int outcome = link_shake(l, why);
	long verified = SSL_get_verify_result(l->ssl);

	if (outcome == LINK_BROKEN && verified != X509_V_OK)
		*why = X509_verify_cert_error_string(verified);
	return outcome;
}
