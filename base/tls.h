/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's side of TLS: a certificate, its key, and whose client certificates count. Immutable once read and shared by threads:
 * a reload makes another one, and the connections that began with the old one go on with it. TLS 1.2 and 1.3; no renegotiation,
 * compression, tickets or sessions: tickets would have keys of this process alone, so they would serve nobody who comes back by a
 * balancer, outlive the reload of client_ca, and cost each connection memory. Nothing waits, but for files at the reading.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/wire/limits.h"

struct ssl_st;
struct tls;

enum tls_version { TLS_1_2, TLS_1_3 };
struct tls_conf {
	const char *cert, *key; /* PEM: the chain, our own first; the key, of mode 0600 (base/secret.h) */
	const char *client_ca;  /* PEM; NULL or "": clients are not asked for certificates */
	int min_version;        /* enum tls_version */
};
/* NULL: each fault stands in `err` with the setting, the file and what to do. */
struct tls *tls_read(const struct tls_conf *, FILE *err);
void tls_free(struct tls *);
uint64_t tls_ends_ms(const struct tls *); /* unix time at which the first certificate of the chain ends */

/* For an accepted socket, which stays the caller's. NULL: out of memory. */
struct ssl_st *tls_accept(const struct tls *, int fd);

bool tls_made(const struct tls *, const struct ssl_st *); /* is it of this one? */

/* What a client has shown of itself; once the handshake is done. */
struct tls_peer {
	char name[NODE_MAX + 1]; /* "": none */
	uint64_t ends_ms;        /* unix time: the certificate's end */
	const char *why;         /* why there is no name, static */
};
bool tls_peer_read(const struct ssl_st *, struct tls_peer *out); /* false: no certificate */
/* After a reload: does the certificate that was shown count by the new one's client_ca, too? Else *shown says why not. */
void tls_peer_judge(const struct tls *, const struct ssl_st *, struct tls_peer *shown);
