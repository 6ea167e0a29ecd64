/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files come in as C strings through a generated list (lua/embed.awk), without comments, so that the wire and Redis
 * carry only code. Each script stands behind the prelude. The digests are made once a process, at the first question.
 */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "registry/scripts.h"
#include "registry/scripts_lua.inc"

static struct script_text texts[SCRIPT_COUNT] = {
#define X(script, file) [SCRIPT_##script] = { .name = #file, .body = { lua_##file, sizeof lua_##file - 1 } },
	SCRIPT_TABLE(X)
#undef X
};
static struct buf bodies[SCRIPT_COUNT]; /* reachable to the end of the process */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void sha1_hex(struct str text, char out[static 41])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	int done = EVP_Digest(text.at, text.len, digest, &len, EVP_sha1(), NULL);

	assert(done == 1 && len == 20);
	(void)done;
	for (size_t i = 0; i < 20; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static void texts_make(void)
{
	for (size_t i = 0; i < SCRIPT_COUNT; i++) {
		buf_add(&bodies[i], lua_prelude, sizeof lua_prelude - 1);
		buf_add(&bodies[i], texts[i].body.at, texts[i].body.len);
		texts[i].body = (struct str){ bodies[i].at, bodies[i].len };
		sha1_hex(texts[i].body, texts[i].sha1);
	}
}

const struct script_text *script_text(enum script script)
{
	assert((size_t)script < SCRIPT_COUNT);
	pthread_once(&once, texts_make);
	return &texts[script];
}
