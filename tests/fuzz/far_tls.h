/* SPDX-License-Identifier: Apache-2.0 */
/* TLS for the clients of far_http.h: what they send and get goes through a session of OpenSSL's, by memory; and a certificate for the
 * server that they speak to. */
#pragma once

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tests/fuzz/fuzz.h"

struct far_tls {
	SSL *ssl;
	struct buf waits; /* until the handshake is over */
};

static inline struct far_tls *far_tls_new(void)
{
	static SSL_CTX *context;
	struct far_tls *t = calloc(1, sizeof(*t));

	if (!context)
		context = SSL_CTX_new(TLS_client_method());
	MUST(t && context && (t->ssl = SSL_new(context)));
	SSL_set_bio(t->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(t->ssl);
	return t;
}

static inline void far_tls_free(struct far_tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	buf_free(&t->waits);
	free(t);
}

/* Bytes came: what they say is added to `out`. */
static inline void far_tls_take(struct far_tls *t, const char *bytes, size_t len, struct buf *out)
{
	char plain[16384];
	int n;

	BIO_write(SSL_get_rbio(t->ssl), bytes, (int)len);
	while ((n = SSL_read(t->ssl, plain, sizeof(plain))) > 0)
		buf_add(out, plain, (size_t)n);
}

/* What is to be sent by now. */
static inline void far_tls_give(struct far_tls *t, int fd)
{
	char bytes[16384];
	int n;

	if (!SSL_is_init_finished(t->ssl))
		SSL_do_handshake(t->ssl);
	if (SSL_is_init_finished(t->ssl) && t->waits.len) {
		SSL_write(t->ssl, t->waits.at, (int)t->waits.len);
		t->waits.len = 0;
	}
	while ((n = BIO_read(SSL_get_wbio(t->ssl), bytes, sizeof(bytes))) > 0)
		if (send(fd, bytes, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
}

/* A key and a certificate signed by it, as PEM. */
static inline void far_tls_make(struct buf *key_text, struct buf *cert_text)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	BIO *out = BIO_new(BIO_s_mem());
	char *at;

	MUST(key && cert && out);
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 365L * 86400);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)"localhost", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	MUST(X509_sign(cert, key, EVP_sha256()) > 0);
	PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
	long len = BIO_get_mem_data(out, &at);
	buf_add(key_text, at, (size_t)len);
	MUST(BIO_reset(out) == 1);
	PEM_write_bio_X509(out, cert);
	len = BIO_get_mem_data(out, &at);
	buf_add(cert_text, at, (size_t)len);
	BIO_free(out);
	X509_free(cert);
	EVP_PKEY_free(key);
}
