/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's certificate never decides about the connection, only about who asks: whatever is wrong with it is kept for the answer
 * to a request that would have needed it.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/secret.h"
#include "base/str.h"
#include "base/tls.h"

#define CHAIN_BYTES_MAX 8192 /* of a client; OpenSSL's own limit is 100 KB */
#define CHAIN_DEPTH_MAX 8

struct tls {
	SSL_CTX *ctx;
	uint64_t ends_ms;
};

/* -- words ------------------------------------------------------------------------------------------------------------------ */
static bool fault(FILE *err, const char *setting, const char *path, const char *words)
{
	fprintf(err, "%s: %s %s\n", setting, path, words);
	ERR_clear_error();
	return false;
}

/* OpenSSL's own, where we know none that are better. */
static const char *first_words(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	return reason ? reason : "cannot be used";
}

static bool can_open(FILE *err, const char *setting, const char *path)
{
	FILE *file = fopen(path, "re");

	if (!file)
		return fault(err, setting, path, errno == ENOENT ? "is not there" : errno == EACCES ? "may not be read by us" : "cannot be opened");
	fclose(file);
	return true;
}

static uint64_t unix_ms(const ASN1_TIME *time)
{
	struct tm tm;

	return ASN1_TIME_to_tm(time, &tm) && timegm(&tm) > 0 ? (uint64_t)timegm(&tm) * 1000 : 0;
}

/* -- our certificate -------------------------------------------------------------------------------------------------------- */
static bool in_its_time(const X509 *cert, FILE *err, const char *path)
{
	char when[25], words[80];

	if (unix_ms(X509_get0_notAfter(cert)) <= wall_ms()) {
		time_rfc3339(unix_ms(X509_get0_notAfter(cert)), when);
		snprintf(words, sizeof(words), "has expired: it was valid until %s", when);
		return fault(err, "tls.cert", path, words);
	}
	if (unix_ms(X509_get0_notBefore(cert)) > wall_ms()) {
		time_rfc3339(unix_ms(X509_get0_notBefore(cert)), when);
		snprintf(words, sizeof(words), "is not valid before %s: is our clock right?", when);
		return fault(err, "tls.cert", path, words);
	}
	return true;
}

static bool chain_in_its_time(struct tls *tls, FILE *err, const char *path)
{
	STACK_OF(X509) *chain = NULL;
	const X509 *cert = SSL_CTX_get0_certificate(tls->ctx);

	SSL_CTX_get0_chain_certs(tls->ctx, &chain);
	tls->ends_ms = UINT64_MAX;
	for (int i = -1, others = chain ? sk_X509_num(chain) : 0; i < others; i++) {
		const X509 *one = i < 0 ? cert : sk_X509_value(chain, i);
		uint64_t ends_ms = unix_ms(X509_get0_notAfter(one));
		if (!in_its_time(one, err, path))
			return false;
		tls->ends_ms = ends_ms < tls->ends_ms ? ends_ms : tls->ends_ms;
	}
	return true;
}

static bool take_certificate(struct tls *tls, const char *path, FILE *err)
{
	if (!can_open(err, "tls.cert", path))
		return false;
	if (SSL_CTX_use_certificate_chain_file(tls->ctx, path) == 1)
		return chain_in_its_time(tls, err, path);
	bool none = ERR_GET_REASON(ERR_peek_error()) == PEM_R_NO_START_LINE;
	return fault(err, "tls.cert", path, none ? "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)" : first_words());
}

/* -- its key ---------------------------------------------------------------------------------------------------------------- */
static const char *use_key(struct tls *tls, const char *text, size_t len)
{
	bool asked = false;
	BIO *bio = BIO_new_mem_buf(text, (int)len);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, secret_no_passphrase, &asked) : NULL;
	const char *why = NULL;

	if (!key)
		why = asked ? "is encrypted, and there is nobody to type its passphrase: store it without one, mode 0600"
		            : "holds no private key in PEM (-----BEGIN PRIVATE KEY-----)";
	else if (X509_check_private_key(SSL_CTX_get0_certificate(tls->ctx), key) != 1)
		why = "is not the key of the certificate in tls.cert";
	else if (SSL_CTX_use_PrivateKey(tls->ctx, key) != 1)
		why = first_words();
	EVP_PKEY_free(key);
	BIO_free(bio);
	return why;
}

static bool take_key(struct tls *tls, const char *path, FILE *err)
{
	const char *why;
	size_t len = 0;
	char *text = secret_read(path, &len, &why);

	if (text)
		why = use_key(tls, text, len);
	secret_free(text, len);
	return why ? fault(err, "tls.key", path, why) : true;
}

/* -- whose clients ---------------------------------------------------------------------------------------------------------- */
/* The first fault ends it: no signature of a chain that leads nowhere is computed, with keys as long as a stranger likes. */
static const char *fault_of(X509_STORE_CTX *store)
{
	return X509_verify_cert(store) > 0 ? NULL : X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
}

/* Keeps it, and lets the handshake go on. */
static int judge(X509_STORE_CTX *store, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());

	(void)arg;
	SSL_set_app_data(ssl, (void *)(uintptr_t)fault_of(store));
	return 1;
}

static bool take_client_ca(struct tls *tls, const char *path, FILE *err)
{
	if (!can_open(err, "tls.client_ca", path))
		return false;
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
	if (!names || SSL_CTX_load_verify_file(tls->ctx, path) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return fault(err, "tls.client_ca", path, "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)");
	}
	SSL_CTX_set_client_CA_list(tls->ctx, names);
	SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(tls->ctx, judge, NULL);
	SSL_CTX_set_verify_depth(tls->ctx, CHAIN_DEPTH_MAX);
	SSL_CTX_set_max_cert_list(tls->ctx, CHAIN_BYTES_MAX);
	return true;
}

/* -- the context ------------------------------------------------------------------------------------------------------------ */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *offered, unsigned len, void *arg)
{
	static const unsigned char ours[] = { 8, 'h', 't', 't', 'p', '/', '1', '.', '1' };

	(void)ssl, (void)arg;
	int found = SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, ours, sizeof(ours), offered, len);
	return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/*
 * Without AUTO_RETRY a call ends after each record, also one without data: no flood of KeyUpdates holds the loop. Buffers are given
 * back whenever they are empty: an idle connection has none.
 */
static bool set_up(SSL_CTX *ctx, int min_version)
{
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF |
	                         SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
	return SSL_CTX_set_min_proto_version(ctx, min_version == TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
	       SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 && SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1;
}

struct tls *tls_read(const struct tls_conf *conf, FILE *err)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	if (!tls || !(tls->ctx = SSL_CTX_new(TLS_server_method())) || !set_up(tls->ctx, conf->min_version))
		abort();
	if (take_certificate(tls, conf->cert, err) && take_key(tls, conf->key, err) &&
	    (!conf->client_ca || !*conf->client_ca || take_client_ca(tls, conf->client_ca, err)))
		return tls;
	tls_free(tls);
	return NULL;
}

void tls_free(struct tls *tls)
{
	if (tls)
		SSL_CTX_free(tls->ctx); /* open connections hold it, too */
	free(tls);
}

uint64_t tls_ends_ms(const struct tls *tls)
{
	return tls->ends_ms;
}

struct ssl_st *tls_accept(const struct tls *tls, int fd)
{
	SSL *ssl = SSL_new(tls->ctx);

	if (ssl && SSL_set_fd(ssl, fd) == 1) {
		SSL_set_accept_state(ssl);
		return ssl;
	}
	SSL_free(ssl);
	return NULL;
}

bool tls_made(const struct tls *tls, const struct ssl_st *ssl)
{
	return SSL_get_SSL_CTX(ssl) == tls->ctx; /* it holds its context, so that no other can be in its place */
}

/* -- who has shaken hands --------------------------------------------------------------------------------------------------- */
static bool take_name(const ASN1_STRING *text, struct tls_peer *out)
{
	const char *at = (const char *)ASN1_STRING_get0_data(text);
	int len = ASN1_STRING_length(text);

	if (len <= 0 || !node_valid(at, (size_t)len))
		return false;
	memcpy(out->name, at, (size_t)len); /* node_valid: at most NODE_MAX */
	return true;
}

static void name_by_subject(const X509 *cert, struct tls_peer *out)
{
	const X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	if (at >= 0)
		take_name(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), out);
}

/* The first that can be a node's. Where there are alternative names at all, the subject's counts no more (RFC 6125, 6.4.4). */
static void find_name(const X509 *cert, struct tls_peer *out)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		found = name->type == GEN_DNS && take_name(name->d.dNSName, out);
	}
	if (!names && X509_get_ext_by_NID(cert, NID_subject_alt_name, -1) < 0)
		name_by_subject(cert, out);
	GENERAL_NAMES_free(names);
}

bool tls_peer_read(const struct ssl_st *ssl, struct tls_peer *out)
{
	const X509 *cert = SSL_get0_peer_certificate(ssl);

	if (!cert)
		return false;
	*out = (struct tls_peer){ .ends_ms = unix_ms(X509_get0_notAfter(cert)), .why = SSL_get_app_data(ssl) };
	if (!out->why)
		find_name(cert, out);
	if (!out->why && !*out->name)
		out->why = "it names no node";
	ERR_clear_error();
	return true;
}

/* As OpenSSL does in a handshake. */
void tls_peer_judge(const struct tls *tls, const struct ssl_st *ssl, struct tls_peer *shown)
{
	X509_STORE_CTX *store = X509_STORE_CTX_new();

	if (!store || X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(tls->ctx), SSL_get0_peer_certificate(ssl), SSL_get_peer_cert_chain(ssl)) != 1)
		abort();
	X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(store), SSL_CTX_get_security_level(tls->ctx));
	X509_STORE_CTX_set_default(store, "ssl_client");
	X509_VERIFY_PARAM_set1(X509_STORE_CTX_get0_param(store), SSL_CTX_get0_param(tls->ctx));
	const char *why = fault_of(store);
	X509_STORE_CTX_free(store);
	ERR_clear_error();
	if (why)
		*shown = (struct tls_peer){ .ends_ms = shown->ends_ms, .why = why };
}
