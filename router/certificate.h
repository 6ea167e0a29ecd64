/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the listeners speak TLS with: read at the start and by SIGHUP from the files that tls.* name. Workers read the published one
 * without a lock, for the length of a callback. Without tls.cert there is none, and the listeners speak plain HTTP.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

struct certificate;
struct router;
struct router_conf;
struct tls;

/* NULL: faults were written to `err`. */
struct certificate *certificate_new(const struct router_conf *, FILE *err);
void certificate_free(struct certificate *);
const struct tls *certificate_now(const struct router *); /* NULL: plain HTTP */
/* A reload in two halves, as other files may be at fault: reads (true: good so far), then puts in force or drops what was read. */
bool certificate_read_anew(struct router *, FILE *err);
void certificate_replace(struct router *, bool go);
void certificate_look(struct router *); /* keeper, now and then: tells when it ends, and warns once a day when that is near */
/* Has it so many days left? True without a certificate. */
bool certificate_lasts(const struct router_conf *, unsigned days);
