/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGHUP: the settings are read again from where they came. Those marked reloadable take effect at once; others that have
 * changed are named in the log, as they wait for a restart; a configuration with a fault changes nothing.
 */
#pragma once

struct router;
void reload_on_signal(struct router *); /* keeper; from now on */
void reload_free(struct router *);
