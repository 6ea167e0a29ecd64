/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <string.h>

#include "base/mac.h"

/* RFC 4231, test cases 2, 6 and, without anything, RFC 2104 by openssl dgst. */
START_TEST(macs_are_those_of_the_rfc)
{
	char out[MAC_HEX_MAX], key[131];

	mac_sha256_hex(STR("Jefe"), STR("what do ya want for nothing?"), out);
	ck_assert_str_eq(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	mac_sha256_hex((struct str){ key, sizeof(key) },
	               STR("Test Using Larger Than Block-Size Key - Hash Key First"), out);
	ck_assert_str_eq(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	mac_sha256_hex((struct str){ 0 }, (struct str){ 0 }, out);
	ck_assert_str_eq(out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}
END_TEST

/* FIPS 180, "abc"; by the same context as SHA-256, in turns. */
START_TEST(one_thread_hashes_both_ways)
{
	static const unsigned char sha1[] = "\xa9\x99\x3e\x36\x47\x06\x81\x6a\xba\x3e\x25\x71\x78\x50\xc2\x6c\x9c\xd0\xd8\x9d";
	static const unsigned char sha256[] = "\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23"
	                                      "\xb0\x03\x61\xa3\x96\x17\x7a\x9c\xb4\x10\xff\x61\xf2\x00\x15\xad";
	unsigned char out[MAC_BYTES];

	for (int round = 0; round < 3; round++) {
		hash_sha1(STR("a"), STR("bc"), out);
		ck_assert_mem_eq(out, sha1, SHA1_BYTES);
		hash_sha256(STR("abc"), out);
		ck_assert_mem_eq(out, sha256, MAC_BYTES);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mac");
	TCase *t = tcase_create("mac");

	tcase_add_test(t, macs_are_those_of_the_rfc);
	tcase_add_test(t, one_thread_hashes_both_ways);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
