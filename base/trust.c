/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pin does not stand in for the chain: it narrows it to keys that we name. Only the far side's own certificate is compared, as
 * curl does, so a pin of a CA's key matches nothing.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/str.h"
#include "base/trust.h"

#define PIN_PREFIX "sha256//"
#define PIN_BASE64 44 /* of 32 bytes */
#define SECURITY_LEVEL 2

static bool is_set(const char *text)
{
	return text && *text;
}

/* -- pins ---------------------------------------------------------------------------------------------------------- */
static bool read_pin(struct str text, unsigned char hash[static 33])
{
	const size_t prefix = sizeof(PIN_PREFIX) - 1;

	if (text.len != prefix + PIN_BASE64 || memcmp(text.at, PIN_PREFIX, prefix) != 0 || text.at[text.len - 1] != '=')
		return false;
	return !memchr(text.at + prefix, '=', PIN_BASE64 - 1) && /* which is a zero to OpenSSL */
	       EVP_DecodeBlock(hash, (const unsigned char *)text.at + prefix, PIN_BASE64) == 33;
}

bool trust_pins_valid(const char *pins, const char **why)
{
	struct str rest = str_of(pins), pin;
	unsigned char hash[33];

	*why = "must be sha256//BASE64 of public keys, comma-separated";
	while (str_cut(&rest, ',', &pin))
		if (!read_pin(str_trim(pin), hash))
			return false;
	return true;
}

static bool key_hash(const struct ssl_st *ssl, unsigned char out[static EVP_MAX_MD_SIZE])
{
	X509 *cert = SSL_get1_peer_certificate(ssl);
	unsigned char *der = NULL;
	int len = cert ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der) : -1;
	bool done = len > 0 && EVP_Digest(der, (size_t)len, out, NULL, EVP_sha256(), NULL);

	OPENSSL_free(der);
	X509_free(cert);
	return done;
}

bool trust_pinned(const struct trust *trust, const struct ssl_st *ssl)
{
	struct str rest = str_of(trust && trust->pins ? trust->pins : ""), pin;
	unsigned char shown[EVP_MAX_MD_SIZE], hash[33];

	if (!rest.len)
		return true;
	if (!key_hash(ssl, shown))
		return false;
	while (str_cut(&rest, ',', &pin))
		if (read_pin(str_trim(pin), hash) && !memcmp(hash, shown, 32))
			return true;
	return false;
}

/* -- files --------------------------------------------------------------------------------------------------------- */
const char *trust_file(const struct trust *trust)
{
	return trust && is_set(trust->ca) ? trust->ca : getenv("SSL_CERT_FILE");
}

const char *trust_directory(const struct trust *trust)
{
	return trust && is_set(trust->ca) ? NULL : getenv("SSL_CERT_DIR");
}

/* A key with a passphrase must not make a daemon ask for it on the terminal. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
	(void)to, (void)size, (void)writing, (void)arg;
	return -1;
}

static bool load_pair(SSL_CTX *ctx, const struct trust *trust, const char **why)
{
	if (!is_set(trust->cert))
		return true;
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	*why = "the certificate cannot be read, or is weak";
	if (SSL_CTX_use_certificate_chain_file(ctx, trust->cert) != 1)
		return false;
	*why = "the key cannot be read (a passphrase is not asked for), or is not the certificate's";
	return SSL_CTX_use_PrivateKey_file(ctx, trust->key, SSL_FILETYPE_PEM) == 1 && SSL_CTX_check_private_key(ctx) == 1;
}

static bool load_cas(SSL_CTX *ctx, const struct trust *trust, const char **why)
{
	*why = "the file of CAs cannot be read, or has none";
	if (trust && is_set(trust->ca))
		return SSL_CTX_load_verify_file(ctx, trust->ca) == 1;
	SSL_CTX_set_default_verify_paths(ctx); /* SSL_CERT_FILE and SSL_CERT_DIR count */
	return true;
}

static void harden(SSL_CTX *ctx)
{
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
}

/* A common name is no name: it is free text, and an address cannot be told from it. */
bool trust_name(X509_VERIFY_PARAM *param, const char *host)
{
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return X509_VERIFY_PARAM_set1_ip_asc(param, host) || X509_VERIFY_PARAM_set1_host(param, host, 0);
}

bool trust_harden(struct ssl_ctx_st *ctx, const char *host)
{
	harden(ctx);
	return trust_name(SSL_CTX_get0_param(ctx), host);
}

struct ssl_ctx_st *trust_context(const struct trust *trust, const char **why)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	*why = "out of memory";
	if (!ctx)
		return NULL;
	harden(ctx);
	SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF); /* WebSocket says its end itself */
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	bool good = load_cas(ctx, trust, why) && (!trust || load_pair(ctx, trust, why));
	ERR_clear_error();
	if (good)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

static bool loads(const struct trust *trust, const char **why)
{
	SSL_CTX *ctx = trust_context(trust, why);

	SSL_CTX_free(ctx);
	return ctx;
}

bool trust_ca_valid(const char *path, const char **why)
{
	return !*path || loads(&(struct trust){ .ca = path }, why);
}

bool trust_pair_valid(const char *cert, const char *key, const char **why)
{
	size_t len = 0;

	*why = "a certificate needs its key, and a key its certificate";
	if (is_set(cert) != is_set(key))
		return false;
	if (!is_set(cert))
		return true;
	char *text = secret_read(key, &len, why);
	secret_free(text, len);
	return text && loads(&(struct trust){ .cert = cert, .key = key }, why);
}
