/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "router/retries.h"

void retries_earn(struct retries *retries)
{
	retries->left = fmin(retries->left + RETRIES_SHARE, RETRIES_SAVED);
}

bool retries_spend(struct retries *retries, uint64_t now_ms)
{
	double since_s = retries->at_ms ? (double)(now_ms - retries->at_ms) / 1000 : 1;

	retries->at_ms = now_ms;
	retries->left = fmin(retries->left + since_s * RETRIES_FLOOR, RETRIES_SAVED);
	if (retries->left < 1)
		return false;
	retries->left -= 1;
	return true;
}
