// SPDX-License-Identifier: Apache-2.0
// The router that people write first: look the room up in Redis; not there: pick a server and write it down. One process;
// ioredis keeps one connection and pipelines by itself what one turn of the loop asks.
// get_set.js REDIS_PORT: prints its port.
"use strict";
const http = require("http");
const Redis = require("ioredis");

const redis = new Redis({ port: Number(process.argv[2]), host: "127.0.0.1", enableAutoPipelining: true });

async function route(room) {
	const key = "room:" + room;
	let node = await redis.get(key);
	if (node === null) {
		await redis.set(key, "sfu-" + (1 + Math.floor(Math.random() * 2)), "NX");
		node = await redis.get(key);
	}
	return JSON.stringify({ room, node, signal_url: `ws://${node}:8188/` });
}

const server = http.createServer(async (req, res) => {
	const asked = /^\/v1\/rooms\/([^/]+)\/route$/.exec(req.url);
	if (!asked) {
		res.statusCode = 404;
		res.end();
		return;
	}
	try {
		const text = await route(asked[1]);
		res.setHeader("Content-Type", "application/json");
		res.end(text);
	} catch (e) {
		res.statusCode = 503;
		res.end(String(e));
	}
});
server.keepAliveTimeout = 3600000;
server.maxRequestsPerSocket = 0;
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
