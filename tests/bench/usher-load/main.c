/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load where wrk does not reach: open loops, requests that differ, tunnels. One thread, one epoll set.
 *
 *   usher-load http -t HOST:PORT -c CONNECTIONS -s SECONDS [-r RATE] -m POST -p /v1/rooms/new-{}/join
 *              [-b BODY] [-H HEADER] [-e STATUS] [-w WORDS] [-i FIRST] [-k NUMBERS] [-n REQUESTS]
 *   usher-load tunnels -t HOST:PORT -c TUNNELS -s SECONDS [-r RATE] -p PATH -l BYTES -f FAR_PORT [-H HEADER]
 *   usher-load beats -t HOST:PORT -c NODES -s SECONDS -W SECONDS -R ROOMS -I INTERVAL_MS
 *
 * Without a rate: closed loop. HEADER may be several lines. {} is a number that counts from -i, modulo -k; -n ends a closed loop after
 * so many. Tunnels: the far side that they are carried to is here, too (where they do not lead to another that gives messages back), and
 * gives each message back; 0 seconds opens them, tells how long that took, and holds them until standard input ends. beats.c says what
 * beats does.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "modes.h"

struct options options = { .method = "GET", .path = "/", .status = 200, .seconds = 3, .warm_s = 0.3, .size = 200,
	                   .rooms = 50, .interval_ns = SECOND };

static void read_target(const char *text)
{
	char address[64];
	const char *colon = strrchr(text, ':');

	if (!colon)
		fail("-t HOST:PORT");
	snprintf(address, sizeof(address), "%.*s", (int)(colon - text), text);
	load.host = text;
	load.to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1)) };
	if (inet_pton(AF_INET, address, &load.to.sin_addr) != 1)
		fail("-t: a numeric address");
}

static void read_options(int argc, char **argv)
{
	for (int o; (o = getopt(argc, argv, "t:c:s:r:m:p:b:H:e:w:i:k:n:l:f:W:R:I:")) != -1;)
		switch (o) {
		case 't': read_target(optarg); break;
		case 'c': load.nconns = strtoul(optarg, NULL, 10); break;
		case 's': options.seconds = atof(optarg); break;
		case 'W': options.warm_s = atof(optarg); break;
		case 'r': options.rate = atof(optarg); break;
		case 'm': options.method = optarg; break;
		case 'p': options.path = optarg; break;
		case 'b': options.body = optarg; break;
		case 'H': options.header = optarg; break;
		case 'e': options.status = atoi(optarg); break;
		case 'w': options.words = optarg; break;
		case 'i': load.next = strtoull(optarg, NULL, 10); break;
		case 'R': options.rooms = strtoull(optarg, NULL, 10); break;
		case 'I': options.interval_ns = strtoull(optarg, NULL, 10) * 1000000; break;
		case 'n': load.most = strtoull(optarg, NULL, 10); break;
		case 'k': options.numbers = strtoull(optarg, NULL, 10); break;
		case 'l': options.size = strtoull(optarg, NULL, 10); break;
		case 'f': options.far_port = atoi(optarg); break;
		default: exit(2);
		}
}

int main(int argc, char **argv)
{
	static const struct { const char *word; void (*run)(void); } modes[] = { 
		{ "http", http_main }, { "tunnels", tunnels_main }, { "beats", beats_main },
	};
	struct rlimit files;

	if (argc < 2)
		return 2;
	read_options(argc - 1, argv + 1);
	if (!load.nconns || !load.host)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	load.poller = epoll_create1(EPOLL_CLOEXEC);
	load.idle = calloc(load.nconns, sizeof(*load.idle));
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (!strcmp(argv[1], modes[i].word)) {
			modes[i].run();
			return 0;
		}
	return 2;
}
