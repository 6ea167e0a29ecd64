/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of base/error.h as data. */
#include <stddef.h>

#include "base/error.h"

static const struct error_info rows[] = {
	[ERR_NONE] = { 200, "ok", "All is well" },
#define X(name, status, slug, words) [ERR_##name] = { status, slug, words },
	ERROR_TABLE(X)
#undef X
};

const struct error_info *error_info(int err)
{
	if (err <= -ERR_COUNT || err >= ERR_COUNT)
		err = ERR_INTERNAL;
	return &rows[err < 0 ? -err : err];
}
