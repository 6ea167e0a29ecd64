/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets, accepted on one loop and dealt to the workers in turn. One acceptor instead of one SO_REUSEPORT
 * socket a worker: the deal is even however few the clients are, limits of connections have one writer, and a stop
 * loses nobody: what the kernel has queued is accepted before the socket closes. (docs/decisions/0003-one-acceptor.md)
 *
 * The acceptor counts open connections in all and for each address; whoever got one returns it with listen_released().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct loop;
struct listener;

struct accepted {
	int fd; /* non-blocking, close-on-exec, TCP_NODELAY; the receiver's */
	int tag; /* which listener: the caller's number */
	struct sockaddr_storage peer;
	socklen_t peer_len;
};
struct listen_conf {
	uint64_t connections, connections_per_address;
	uint64_t reserved;   /* of `connections`: for those who are `inner` alone */
	const char *proxies; /* networks that many clients come through: not limited by address; NULL or "": none */
	bool tls; /* who is turned away is told so by an alert instead of an answer */
	/* On the acceptor's loop; hand it to a worker, or close it. */
	void (*deal)(void *arg, const struct accepted *);
	/* Optional: who comes over this listener, from there, keeps the fleet alive. */
	bool (*inner)(void *arg, int tag, const struct sockaddr_storage *peer);
	void *arg;
};
struct listen_set; /* all listeners of a process and their counts */
struct listen_set *listen_set_new(struct loop *, const struct listen_conf *);
/* "127.0.0.1:8080", "[::1]:0", "8080". Port 0 asks the kernel. `why` gets words for people. NULL: could not. */
struct listener *listen_open(struct listen_set *, const char *address, int tag, const char **why);
struct listener *listen_adopt(struct listen_set *, int fd, int tag); /* systemd socket activation */
const char *listen_address(const struct listener *);                 /* "127.0.0.1:40123" */
void listen_released(struct listen_set *, const struct sockaddr_storage *peer); /* acceptor's loop */
/* Closing resets what the kernel has queued, and a handshake may end between the last accept and the close. So first quiet, then,
 * once those under way have had time to end, close. Quiet: no new handshake (its SYN is dropped, so the client sends it again and is
 * refused after the close); what the activator holds open stays as it is. Close: accepts what is queued; connections live on. */
void listen_quiet(struct listen_set *);
void listen_close(struct listen_set *);
void listen_set_free(struct listen_set *);
/* Lets the process have as many descriptors as the system allows; returns how many. */
uint64_t listen_raise_descriptors(void);
/* Sockets passed by systemd (LISTEN_FDS, LISTEN_PID): how many, from descriptor 3. Clears the environment. */
int listen_systemd_fds(void);
/* What counts as one address: IPv4, also written as IPv6, and the /64 of any other. */
#define LISTEN_ORIGIN_BYTES 9
void listen_origin(const struct sockaddr_storage *peer, unsigned char key[static LISTEN_ORIGIN_BYTES]);
/* Parses "host:port" for bind; true if loopback. */
bool listen_is_loopback(const char *address);
