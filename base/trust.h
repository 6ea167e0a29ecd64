/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom we believe when we connect by TLS, and what we show: the same words for curl (base/http.h) and for tunnels
 * (base/tunnel.h). Always: TLS 1.2 or newer, a chain to a known CA with keys and hashes that are not weak (OpenSSL's security
 * level 2: no SHA-1, RSA from 2048 bits), the host's name or address among the certificate's alternative names. Files are read at each new connection
 * or set of them, so that they may be renewed under us.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct ssl_ctx_st;
struct ssl_st;
struct X509_VERIFY_PARAM_st;

struct trust { /* strings are borrowed; NULL or "": not set */
	const char *ca;   /* file of PEM certificates, instead of the system's and of SSL_CERT_FILE and SSL_CERT_DIR */
	const char *pins; /* sha256//BASE64,…: the key of the far side's own certificate must be one of these, too */
	const char *cert, *key; /* files: our certificate with its chain, and its key (mode 0600) */
};

/* Checks of single settings, "" is fine; `why` gets static words. */
bool trust_ca_valid(const char *path, const char **why);
bool trust_pins_valid(const char *pins, const char **why);
bool trust_pair_valid(const char *cert, const char *key, const char **why); /* both or none, and they fit each other */

const char *trust_file(const struct trust *);      /* of CAs, or NULL: the system's */
const char *trust_directory(const struct trust *); /* the same of a directory */

bool trust_harden(struct ssl_ctx_st *, const char *host); /* one of others' making: versions, strength, no renegotiation, the name */
struct ssl_ctx_st *trust_context(const struct trust *, const char **why); /* of a client; NULL: why */
bool trust_name(struct X509_VERIFY_PARAM_st *, const char *host);          /* a name, or an address without brackets */
bool trust_pinned(const struct trust *, const struct ssl_st *);           /* after the handshake */
