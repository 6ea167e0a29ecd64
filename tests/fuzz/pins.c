/* SPDX-License-Identifier: Apache-2.0 */
/* Pins of keys: what is taken is a list of sha256// with base64 of 32 bytes, and what is not says why. */
#include "base/trust.h"
#include "tests/fuzz/fuzz.h"

static void must_be_pin(struct str pin)
{
	MUST(pin.len == 8 + 44 && !memcmp(pin.at, "sha256//", 8) && pin.at[pin.len - 1] == '=');
	for (size_t i = 8; i + 1 < pin.len; i++)
		MUST(memchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", pin.at[i], 64));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str in = { (const char *)bytes, len }, rest, pin;
	const char *why = NULL;
	char *pins = copy_of(in, true);

	rest = str_of(pins);
	if (!trust_pins_valid(pins, &why))
		MUST(why && *why);
	else
		while (str_cut(&rest, ',', &pin))
			must_be_pin(str_trim(pin));
	free(pins);
	return 0;
}
