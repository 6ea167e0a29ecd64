# SPDX-License-Identifier: Apache-2.0
"""The process as operators meet it: settings, signals, sockets from the service manager, limits."""
import asyncio
import os
import signal
import socket
import subprocess

from harness import BUILD, Client, Process, call, until

USHERD = str(BUILD / "router" / "usherd")


def run(*argv, env=None):
    done = subprocess.run([USHERD, *argv], capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=20)
    return done.returncode, done.stdout, done.stderr


def test_check_says_where_what_and_what_is_allowed(tmp_path):
    file = tmp_path / "usher.ini"
    file.write_text("[server]\nlisten = 127.0.0.1:0\nworkers = many\n[breaker]\nfailurs = 5\n")
    code, _, err = run("-c", str(file), "--check")
    assert code == 1
    assert f"{file}:3" in err and "server.workers" in err and "from 0 to 256" in err, err
    assert f"{file}:5" in err and "breaker.failurs" in err, err
    file.write_text("[server]\nlisten = 127.0.0.1:0\n")
    assert run("-c", str(file), "--check")[0] == 0


def test_flags_go_before_environment_before_file(tmp_path):
    """3000 ms contradict the default lease of 4000 ms, 1000 ms do not: so the exit code tells which of them counts."""
    file = tmp_path / "usher.ini"
    file.write_text("[nodes]\nheartbeat_ms = 3000\n")
    assert run("-c", str(file), "--check")[0] == 1
    assert run("-c", str(file), "--check", env={"USHER_NODES_HEARTBEAT_MS": "1000"})[0] == 0
    assert run("-c", str(file), "--check", "--set", "nodes.heartbeat_ms=3000", env={"USHER_NODES_HEARTBEAT_MS": "1000"})[0] == 1


def test_an_open_listener_without_authentication_is_refused_in_words():
    code, _, err = run("--check", "--set", "server.listen=0.0.0.0:0", "--set", "server.public_url=http://x", "--set",
                       "registry.url=redis://127.0.0.1:1")
    assert code == 1 and "auth.allow_insecure=true" in err, err
    code, _, err = run("--check", "--set", "server.listen=0.0.0.0:0", "--set", "auth.allow_insecure=true", "--set",
                       "registry.allow_memory=true")
    assert code == 1 and "server.public_url" in err, err


def test_stores_that_are_none_are_refused_in_words():
    for url in ("rediss://127.0.0.1:1", "mysql://x", "redis+sentinel://127.0.0.1:1", "redis+cluster://"):
        code, _, err = run("--set", "server.listen=127.0.0.1:0", "--set", f"registry.url={url}")
        assert code == 1 and "registry" in err, (url, err)


def test_check_reads_the_url_of_the_store_and_does_not_print_it():
    for url, words in (("rediss://u:secret@h:1", "TLS"), ("foo://secret", "must be memory:"), ("redis://secret", "redis://"),
                       ("redis+sentinel://secret:1", "master-name")):
        code, out, err = run("--check", "--set", f"registry.url={url}")
        assert code == 1 and "registry.url" in err and words in err and "secret" not in out + err, err
    assert run("--check", "--set", "registry.url=redis://user:secret@h:6379/1")[0] == 0


def test_hup_reloads_what_is_reloadable_and_names_the_rest(stage, tmp_path):
    file = tmp_path / "usher.ini"
    file.write_text("[server]\norigins = https://a.example\n")
    router = stage.process("usherd-hup", [USHERD, "-c", file, "--set", "server.listen=127.0.0.1:0", "--set", "log.format=json"])
    url = "http://" + router.event("started")["listen"]

    def allowed(origin):
        answer = call("OPTIONS", f"{url}/v1/rooms/r/join", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        return answer.status == 204 and answer.headers.get("access-control-allow-origin") == origin
    assert allowed("https://a.example") and not allowed("https://b.example")
    file.write_text("[server]\norigins = https://b.example\nworkers = 3\n")
    router.signal(signal.SIGHUP)
    router.event("reloaded")
    until("the new origin is allowed", lambda: allowed("https://b.example"))
    assert not allowed("https://a.example")
    assert [e["key"] for e in router.events("reload_needs_restart")] == ["server.workers"]
    file.write_text("[server]\norigins = https://c.example\nworkers = none\n")
    router.signal(signal.SIGHUP)
    assert "server.workers" in router.event("reload_failed")["why"]
    assert allowed("https://b.example") and not allowed("https://c.example")
    assert router.stop() == 0


def test_a_socket_from_the_service_manager_is_served(stage, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        # As systemd does: the socket is descriptor 3 and LISTEN_PID is the process that execs.
        script = f'exec 3<&{listener.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
        log = open(tmp_path / "activated.log", "wb")
        child = subprocess.Popen(["/bin/bash", "-c", script, "sh", USHERD, "--set", "log.format=json", "--set", "server.lame_duck_ms=0"],
                                 stdout=log, stderr=log, pass_fds=[listener.fileno()])
        try:
            assert call("GET", f"http://{address}/livez").status == 200
            child.terminate()
            assert child.wait(20) == 0
            # The socket outlives the process: who connects now waits for the next one.
            asyncio.run(connects(address))
        finally:
            child.kill()


async def connects(address):
    host, port = address.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()


def test_connections_of_one_address_are_limited_and_tunnels_count(stage):
    import websockets
    router = stage.router("limits.connections_per_address=8", "server.workers=1")
    stage.agent("n1", [router])
    until("placeable", lambda: (router.node("n1") or {}).get("placeable"))
    url = f"ws://{router.url[7:]}/v1/rooms/r/signal"

    async def one_more():
        client = Client(router.url)
        try:
            return (await client.request("GET", "/livez", timeout=2)).status == 200
        except (ConnectionError, asyncio.IncompleteReadError):
            return False
        finally:
            client.close()

    async def fill():
        tunnels = []
        try:
            for _ in range(8):
                tunnels.append(await websockets.connect(url))
        except (OSError, websockets.exceptions.WebSocketException, asyncio.IncompleteReadError):
            pass
        # The agent's own connections are from this address, too.
        assert len(tunnels) >= 4
        deadline = asyncio.get_running_loop().time() + 10
        while await one_more():
            tunnels.append(await websockets.connect(url))
            assert asyncio.get_running_loop().time() < deadline and len(tunnels) < 12, "tunnels are not counted"
        for tunnel in tunnels:
            await tunnel.close()
        while not await one_more():
            assert asyncio.get_running_loop().time() < deadline, "ended tunnels are still counted"
    asyncio.run(fill())


def test_trusted_proxies_are_not_limited_by_address(stage):
    router = stage.router("limits.connections_per_address=2", "server.trusted_proxies=127.0.0.0/8")

    async def many():
        clients = [Client(router.url) for _ in range(10)]
        answers = [await c.request("GET", "/livez") for c in clients]
        for c in clients:
            c.close()
        return [a.status for a in answers]
    assert asyncio.run(many()) == [200] * 10
