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
#define CHAIN_BYTES_MAX 32768 /* of a server; OpenSSL's own limit is 100 KB */

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
static const char *named_by(const char *variable)
{
	const char *path = getenv(variable);

	return is_set(path) ? path : NULL;
}

const char *trust_file(const struct trust *trust)
{
	return trust && is_set(trust->ca) ? trust->ca : named_by("SSL_CERT_FILE");
}

const char *trust_directory(const struct trust *trust)
{
	return trust && is_set(trust->ca) ? NULL : named_by("SSL_CERT_DIR");
}

static bool load_pair(SSL_CTX *ctx, const struct trust *trust, const char **why)
{
	if (!is_set(trust->cert))
		return true;
	SSL_CTX_set_default_passwd_cb(ctx, secret_no_passphrase);
	*why = "the certificate cannot be read, or is weak";
	if (SSL_CTX_use_certificate_chain_file(ctx, trust->cert) != 1)
		return false;
	*why = "the key cannot be read (a passphrase is not asked for), or is not the certificate's";
	return SSL_CTX_use_PrivateKey_file(ctx, trust->key, SSL_FILETYPE_PEM) == 1 && SSL_CTX_check_private_key(ctx) == 1;
}

/* Not OpenSSL's defaults beside what is named: with a file alone they are the system's directory, with that the system's file. */
static bool load_cas(SSL_CTX *ctx, const struct trust *trust, const char **why)
{
	const char *file = trust_file(trust), *directory = trust_directory(trust);

	*why = "the file of CAs (the setting's, or SSL_CERT_FILE) cannot be read, or has none";
	if (!file && !directory)
		return SSL_CTX_set_default_verify_paths(ctx) == 1;
	return (!file || SSL_CTX_load_verify_file(ctx, file) == 1) && (!directory || SSL_CTX_load_verify_dir(ctx, directory) == 1);
}

/* Whom a file names is believed, also one who is no root: an intermediate CA, or an SFU's own certificate. curl has it so. */
static void harden(SSL_CTX *ctx)
{
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_max_cert_list(ctx, CHAIN_BYTES_MAX);
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

struct ssl_st *trust_connect(struct ssl_ctx_st *ctx, int fd, const char *host)
{
	SSL *ssl = SSL_new(ctx);

	if (ssl && SSL_set_fd(ssl, fd) == 1 && trust_name(SSL_get0_param(ssl), host) &&
	    (!X509_VERIFY_PARAM_get0_host(SSL_get0_param(ssl), 0) || SSL_set_tlsext_host_name(ssl, host))) {
		SSL_set_connect_state(ssl);
		return ssl;
	}
	SSL_free(ssl);
	return NULL;
}

const char *trust_fault(const struct ssl_st *ssl)
{
	long verified = SSL_get_verify_result(ssl);

	return verified == X509_V_OK ? NULL : X509_verify_cert_error_string(verified);
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
