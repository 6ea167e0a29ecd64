/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A turn of the loop inside somebody else's program. TLS writes with write(2): a router that has hung up would end that program
 * by SIGPIPE, and how signals are dealt with is its own choice, so the signal is kept out of this thread for the turn alone.
 */
#pragma once

struct loop;

void turn_quietly(struct loop *);
