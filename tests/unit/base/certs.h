/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and certificates made for a test, and their files in a directory of its own. */
#pragma once

#include <check.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY 86400L

struct made { /* issuer NULL: signs itself */
	const char *common, *names; /* names: "IP:127.0.0.1,DNS:localhost"; NULL: none */
	const X509 *issuer;
	EVP_PKEY *issuer_key;
	long from, until; /* seconds from now */
	bool ca;
};

static inline void extend(X509 *cert, int kind, const char *value)
{
	X509V3_CTX v3;

	X509V3_set_ctx(&v3, cert, cert, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &v3, kind, value);
	ck_assert_ptr_nonnull(e);
	X509_add_ext(cert, e, -1);
	X509_EXTENSION_free(e);
}

static inline X509 *make_cert(EVP_PKEY *key, const struct made *how)
{
	X509 *cert = X509_new();
	static long serial;

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(cert), how->from ? how->from : -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), how->until ? how->until : 3600);
	X509_set_pubkey(cert, key);
	if (how->common)
		X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)how->common, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(how->issuer ? how->issuer : cert));
	if (how->names)
		extend(cert, NID_subject_alt_name, how->names);
	if (how->ca)
		extend(cert, NID_basic_constraints, "critical,CA:TRUE");
	X509_sign(cert, how->issuer_key ? how->issuer_key : key, EVP_sha256());
	return cert;
}

/* The path, the caller's to free. */
static inline char *made_path(const char *directory, const char *name)
{
	char *path = NULL;

	ck_assert_int_gt(asprintf(&path, "%s/%s", directory, name), 0);
	return path;
}

static inline FILE *made_file(const char *path, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	return fdopen(fd, "w");
}

static inline void write_cert(const char *path, const X509 *cert)
{
	FILE *file = made_file(path, 0644);

	ck_assert_int_eq(PEM_write_X509(file, cert), 1);
	fclose(file);
}

static inline void write_key(const char *path, EVP_PKEY *key, mode_t mode, const char *passphrase)
{
	FILE *file = made_file(path, mode);

	ck_assert_int_eq(PEM_write_PrivateKey(file, key, passphrase ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL,
	                                      (void *)(uintptr_t)passphrase), 1);
	fclose(file);
}
