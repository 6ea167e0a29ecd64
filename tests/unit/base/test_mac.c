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

int main(void)
{
	Suite *s = suite_create("mac");
	TCase *t = tcase_create("mac");

	tcase_add_test(t, macs_are_those_of_the_rfc);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
