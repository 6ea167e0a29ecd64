/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a file, a directory and the environment make us believe; calls and tunnels ask the same functions. */
#include <openssl/ssl.h>

#include "base/trust.h"
#include "certs.h"

#define SYSTEM "/etc/ssl/certs/ca-certificates.crt"

static char directory[32], *file;
static EVP_PKEY *key, *root_key;
static X509 *root, *middle;

static void setup(void)
{
	strcpy(directory, "/tmp/usher-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	file = made_path(directory, "ca.pem");
	root_key = EVP_EC_gen("P-256");
	key = EVP_EC_gen("P-256");
	root = make_cert(root_key, &(struct made){ .common = "root", .ca = true });
	middle = make_cert(key, &(struct made){ .common = "middle", .issuer = root, .issuer_key = root_key, .ca = true });
	unsetenv("SSL_CERT_FILE");
	unsetenv("SSL_CERT_DIR");
}

static void teardown(void)
{
	unlink(file);
	rmdir(directory);
	free(file);
	X509_free(root);
	X509_free(middle);
	EVP_PKEY_free(key);
	EVP_PKEY_free(root_key);
}

static bool believes(const struct trust *trust, X509 *cert)
{
	const char *why;
	SSL_CTX *ctx = trust_context(trust, &why);
	X509_STORE_CTX *judging = X509_STORE_CTX_new();

	ck_assert_msg(ctx, "%s", why);
	ck_assert_int_eq(X509_STORE_CTX_init(judging, SSL_CTX_get_cert_store(ctx), cert, NULL), 1);
	X509_STORE_CTX_set_default(judging, "ssl_server");
	X509_VERIFY_PARAM_set1(X509_STORE_CTX_get0_param(judging), SSL_CTX_get0_param(ctx));
	bool good = X509_verify_cert(judging) == 1;
	X509_STORE_CTX_free(judging);
	SSL_CTX_free(ctx);
	return good;
}

/* Is its issuer (a root's: itself) among those that are believed? A root is no server, so believes() says nothing of it. */
static bool knows_issuer(const struct trust *trust, X509 *cert)
{
	const char *why;
	SSL_CTX *ctx = trust_context(trust, &why);
	X509_STORE_CTX *asking = X509_STORE_CTX_new();
	X509 *issuer = NULL;

	ck_assert_msg(ctx, "%s", why);
	ck_assert_int_eq(X509_STORE_CTX_init(asking, SSL_CTX_get_cert_store(ctx), cert, NULL), 1);
	bool known = X509_STORE_CTX_get1_issuer(&issuer, asking, cert) == 1;
	X509_free(issuer);
	X509_STORE_CTX_free(asking);
	SSL_CTX_free(ctx);
	return known;
}

static X509 *one_of_the_systems(void)
{
	FILE *from = fopen(SYSTEM, "re");
	X509 *cert = from ? PEM_read_X509(from, NULL, NULL, NULL) : NULL;

	if (from)
		fclose(from);
	return cert;
}

/* One of both alone: what is built in for the other does not count beside it. */
START_TEST(what_the_environment_names_is_all)
{
	X509 *systems = one_of_the_systems();

	write_cert(file, root);
	if (systems)
		ck_assert_msg(knows_issuer(NULL, systems), "else what follows says nothing");
	setenv(_i ? "SSL_CERT_DIR" : "SSL_CERT_FILE", _i ? directory : file, 1);
	ck_assert_str_eq(_i ? trust_directory(NULL) : trust_file(NULL), _i ? directory : file);
	ck_assert_ptr_null(_i ? trust_file(NULL) : trust_directory(NULL));
	ck_assert_int_eq(believes(NULL, root), !_i); /* the directory's files have no names of hashes */
	if (systems)
		ck_assert(!knows_issuer(NULL, systems));
	X509_free(systems);
}
END_TEST

START_TEST(an_empty_name_is_none)
{
	setenv("SSL_CERT_FILE", "", 1);
	setenv("SSL_CERT_DIR", "", 1);
	ck_assert_ptr_null(trust_file(NULL));
	ck_assert_ptr_null(trust_directory(NULL));
}
END_TEST

START_TEST(a_setting_stands_instead_of_the_environment)
{
	struct trust trust = { .ca = file };

	write_cert(file, root);
	setenv("SSL_CERT_FILE", "/nonexistent", 1);
	setenv("SSL_CERT_DIR", "/nonexistent", 1);
	ck_assert_str_eq(trust_file(&trust), file);
	ck_assert_ptr_null(trust_directory(&trust));
	ck_assert(believes(&trust, root));
}
END_TEST

START_TEST(who_is_no_root_is_believed_where_it_is_named)
{
	struct trust trust = { .ca = file };

	write_cert(file, middle);
	ck_assert(believes(&trust, middle));
	ck_assert(!believes(&trust, root));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trust");
	TCase *c = tcase_create("trust");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, what_the_environment_names_is_all, 0, 2);
	tcase_add_test(c, an_empty_name_is_none);
	tcase_add_test(c, a_setting_stands_instead_of_the_environment);
	tcase_add_test(c, who_is_no_root_is_believed_where_it_is_named);
	suite_add_tcase(suite, c);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
