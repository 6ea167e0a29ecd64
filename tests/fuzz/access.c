/* SPDX-License-Identifier: Apache-2.0 */
/* The file of auth.keys: tokens and JSON Web Keys. */
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "router/access_rules.h"
#include "router/conf.h"
#include "tests/fuzz/fuzz.h"

static FILE *nowhere;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	nowhere = fopen("/dev/null", "w");
	return !nowhere;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str in = { (const char *)bytes, len };
	struct router_conf conf = { .auth = { .ticket_keys = "", .grant_keys = "", .mode = feed_byte(&in) & 1 ? AUTH_TOKEN : AUTH_JWT } };
	int fd = memfd_create("keys", MFD_CLOEXEC);
	char path[64];

	MUST(fd >= 0 && fchmod(fd, 0600) == 0 && write(fd, in.at, in.len) == (ssize_t)in.len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	conf.auth.keys = path;
	struct access_rules *rules = access_rules_read(&conf, nowhere);
	if (rules) {
		MUST(rules->ntokens <= TOKENS_MAX && rules->nkeys <= KEYS_MAX);
		MUST(conf.auth.mode == AUTH_TOKEN ? rules->ntokens : rules->nkeys);
		for (size_t i = 0; i < rules->ntokens; i++)
			MUST(access_rules_token(rules, rules->tokens[i].hash) == &rules->tokens[i].rights && rules->tokens[i].rights.scopes);
		access_rules_free(rules);
	}
	close(fd);
	return 0;
}
