/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom we believe when we connect by TLS, and what we show: the same words for curl (base/http.h) and for tunnels (base/tunnel.h).
 * Always: TLS 1.2 or newer, a chain to a known CA with keys and hashes that are not weak (OpenSSL's security level 2: no SHA-1, RSA
 * from 2048 bits), the host's name or address among the certificate's alternative names. Calls read the files at each new connection,
 * tunnels at the first one of each set (a reload makes a new set), so that they may be renewed under us.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct ssl_ctx_st;
struct ssl_st;
struct X509_VERIFY_PARAM_st;

struct trust { /* strings are borrowed; NULL or "": not set */
	const char *ca;   /* file of PEM certificates, each counts, also one that is no root; instead of the system's, or SSL_CERT_FILE's and _DIR's */
	const char *pins; /* sha256//BASE64,…: the key of the far side's own certificate must be one of these, too */
	const char *cert, *key; /* files: our certificate with its chain, and its key (mode 0600) */
};

/* Checks of single settings, "" is fine; `why` gets static words. */
bool trust_ca_valid(const char *path, const char **why);
bool trust_pins_valid(const char *pins, const char **why);
bool trust_pair_valid(const char *cert, const char *key, const char **why); /* both or none, and they fit each other */

/* Of CAs; either may be NULL, and if both are, it is the system's that count. */
const char *trust_file(const struct trust *);
const char *trust_directory(const struct trust *);

/* One of others' making: versions, strength, no renegotiation, the name. */
bool trust_harden(struct ssl_ctx_st *, const char *host);
struct ssl_ctx_st *trust_context(const struct trust *, const char **why); /* of a client; NULL: why */
/* For a connected socket, which stays the caller's, to `host` (a name, or an address without brackets). NULL: out of memory. */
struct ssl_st *trust_connect(struct ssl_ctx_st *, int fd, const char *host);
const char *trust_fault(const struct ssl_st *); /* what is wrong with the far side's certificate, static; NULL: nothing is known */
bool trust_name(struct X509_VERIFY_PARAM_st *, const char *host);          /* a name, or an address without brackets */
bool trust_pinned(const struct trust *, const struct ssl_st *);           /* after the handshake */
