/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes whose record is in the store while the list of all nodes has lost them: they are listed again, so that they are judged
 * like any other. A bounded step of a scan at a time, for ever; the keeper's.
 */
#pragma once

struct router;
struct unlisted;

struct unlisted *unlisted_new(struct router *);
void unlisted_start(struct unlisted *);
void unlisted_free(struct unlisted *);
