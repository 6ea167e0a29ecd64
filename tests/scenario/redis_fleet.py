# SPDX-License-Identifier: Apache-2.0
"""Several Redis servers that belong together: a primary with replicas, Sentinels over them, a cluster."""
import contextlib
import socket
import threading
import time

from harness import Redis, free_port, until


def info(server, section, *names):
    """Fields of INFO as text; "" for what is not said."""
    rows = dict(line.split(":", 1) for line in server.command("INFO", section).decode(errors="replace").splitlines() if ":" in line)
    found = [rows.get(name, "") for name in names]
    return found[0] if len(names) == 1 else found


class Replicas:
    """One primary and `count` replicas, all in step."""

    def __init__(self, stage, count=2, words=(), password=None):
        self.stage, self.words = stage, list(words)
        if password:
            self.words += ["--requirepass", password, "--masterauth", password]
        self.primary = self._start()
        self.replicas = [self._start("--replicaof", f"127.0.0.1 {self.primary.port}") for _ in range(count)]
        self.servers = [self.primary, *self.replicas]
        if not password:
            self.in_step()

    def _start(self, *more):
        return self.stage.redis(words=("--repl-diskless-sync-delay", "0", *self.words, *more))

    def in_step(self):
        for replica in self.replicas:
            until("a replica follows", lambda: info(replica, "replication", "master_link_status") == "up")

    def by_port(self, port):
        return next(s for s in self.servers if s.port == port)


class Sentinels:
    """Three Sentinels over Replicas; they call a primary down after a second."""
    NAME = "usher-master"

    def __init__(self, stage, count=3, password=None, own_password=None, **how):
        self.stage, self.password, self.own_password = stage, password, own_password
        self.redis = Replicas(stage, password=password, **how)
        self.each = [self._start(i) for i in range(count)]
        hosts = ",".join(f"127.0.0.1:{s.port}" for s in self.each)
        self.url = f"redis+sentinel://{f':{password}@' if password else ''}{hosts}/{self.NAME}"
        for sentinel in self.each:
            until("the Sentinels know each other", lambda: self.knows(sentinel, count))

    def _start(self, i):
        path = self.stage.directory / f"sentinel-{i}.conf"
        path.write_text(f"sentinel monitor {self.NAME} 127.0.0.1 {self.redis.primary.port} 2\n"
                        f"sentinel down-after-milliseconds {self.NAME} 1000\n"
                        f"sentinel failover-timeout {self.NAME} 4000\n"
                        + (f"sentinel auth-pass {self.NAME} {self.password}\n" if self.password else "")
                        + (f"requirepass {self.own_password}\nsentinel sentinel-pass {self.own_password}\n" if self.own_password else ""))
        return self.stage.add(Sentinel(self.stage.directory, path, self.own_password))

    def knows(self, sentinel, count):
        row = sentinel.master(self.NAME)
        return row.get("num-other-sentinels") == str(count - 1) and row.get("num-slaves") == str(len(self.redis.replicas))

    def primary(self):
        """What most of them name."""
        ports = [int(row["port"]) for row in (s.master(self.NAME) for s in self.each) if row]
        return self.redis.by_port(max(set(ports), key=ports.count))

    def switch(self):
        """A failover without a failure; gives the demoted primary."""
        old = self.primary()
        until("a Sentinel begins", lambda: self.each[0].command("SENTINEL", "FAILOVER", self.NAME) == b"+OK\r\n")
        return old


class Sentinel(Redis):
    def __init__(self, directory, path, password=None):
        self.password = password
        super().__init__(directory, words=(path, "--sentinel"))

    def command(self, *words):
        reply = super().command(*words)
        if not self.password or not reply.startswith(b"-NOAUTH") or words == ("PING",):
            return reply
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as s:
            s.settimeout(2)
            s.sendall(b"AUTH %s\r\n" % self.password.encode())
            if s.recv(64) == b"+OK\r\n":
                s.sendall(" ".join(words).encode() + b"\r\n")
                return s.recv(1 << 20)
        return b""

    def master(self, name):
        words = self.command("SENTINEL", "MASTER", name).decode(errors="replace").split("\r\n")
        values = [words[i] for i in range(2, len(words), 2)]
        return dict(zip(values[::2], values[1::2]))


class Cluster:
    """Primaries that share the slots, each with `replicas` replicas; a node that is gone is missed after a second."""

    def __init__(self, stage, primaries=3, replicas=0, words=()):
        self.stage = stage
        self.nodes = [self._start(words) for _ in range(primaries * (1 + replicas))]
        self.primaries = self.nodes[:primaries]
        for node in self.nodes[1:]:
            assert node.command("CLUSTER", "MEET", "127.0.0.1", str(self.nodes[0].port), str(self.nodes[0].bus)) == b"+OK\r\n"
        for i, node in enumerate(self.primaries):
            first, last = 16384 * i // primaries, 16384 * (i + 1) // primaries - 1
            assert node.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(last)) == b"+OK\r\n"
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{n.port}" for n in self.nodes)
        until("all see all", lambda: all(self.known(n) == len(self.nodes) for n in self.nodes))
        for i, replica in enumerate(self.nodes[primaries:]):
            until("it replicates", lambda: replica.command("CLUSTER", "REPLICATE", self.id(self.primaries[i % primaries])) == b"+OK\r\n")
            until("it follows", lambda: info(replica, "replication", "master_link_status") == "up")
        until("the cluster serves", lambda: all(b"cluster_state:ok" in n.command("CLUSTER", "INFO") for n in self.nodes))

    def _start(self, words):
        bus = free_port()
        node = self.stage.redis(words=("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "1000",
                                       "--cluster-config-file", f"nodes-{bus}.conf", "--repl-diskless-sync-delay", "0",
                                       "--cluster-require-full-coverage", "no", *words))
        node.bus = bus
        return node

    @staticmethod
    def known(node):
        return int(dict(line.split(":") for line in node.command("CLUSTER", "INFO").decode().splitlines() if ":" in line)
                   ["cluster_known_nodes"])

    @staticmethod
    def id(node):
        return node.command("CLUSTER", "MYID").split(b"\r\n")[1].decode()

    def owner(self, slot):
        """The node that the others take for the slot's primary."""
        for node in self.nodes:
            with contextlib.suppress(ValueError, IndexError):
                for row in node.command("CLUSTER", "NODES").decode().splitlines():
                    words = row.split()
                    if len(words) < 9 or "master" not in words[2] or "fail" in words[2]:
                        continue
                    for span in words[8:]:
                        first, _, last = span.partition("-")
                        if first.isdigit() and int(first) <= slot <= int(last or first):
                            port = int(words[1].split("@")[0].rsplit(":", 1)[1])
                            return next(n for n in self.nodes if n.port == port)
        return None

    def slot(self, key):
        return int(next(n for n in self.nodes if n.child.poll() is None).command("CLUSTER", "KEYSLOT", key)[1:])

    def begin_move(self, slot, to):
        """The slot is on its way (ASK, TRYAGAIN); its keys stay where they are."""
        source = self.owner(slot)
        assert to.command("CLUSTER", "SETSLOT", str(slot), "IMPORTING", self.id(source)) == b"+OK\r\n"
        assert source.command("CLUSTER", "SETSLOT", str(slot), "MIGRATING", self.id(to)) == b"+OK\r\n"
        return source

    def move_keys(self, slot, source, to):
        client = source.client()
        for key in client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1000):
            client.execute_command("MIGRATE", "127.0.0.1", to.port, key, 0, 5000)

    def end_move(self, slot, to):
        for node in [to, *self.nodes]:
            if node.child.poll() is None:
                node.command("CLUSTER", "SETSLOT", str(slot), "NODE", self.id(to))


class FakeRedis:
    """Answers as a primary without tracking does, and with `answer(words)` (bytes, or None for the usual) where that has something
    to say. Counts what it was asked."""

    def __init__(self, answer=lambda words: None):
        self.answer, self.asked, self.ended = answer, [], False
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self.links = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.ended:
            with contextlib.suppress(OSError):
                link, _ = self.server.accept()
                if self.ended:
                    link.close()
                    continue
                self.links.append(link)
                threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link):
        with contextlib.suppress(OSError, ValueError), link.makefile("rb") as lines:
            while (head := lines.readline()):
                words = []
                for _ in range(int(head[1:])):
                    words.append(lines.read(int(lines.readline()[1:]) + 2)[:-2].decode(errors="replace"))
                self.asked.append((time.monotonic(), words))
                reply = self.answer(words)
                if reply == b"":
                    continue
                link.sendall(reply or self._usual(words))

    @staticmethod
    def _usual(words):
        verb = words[0].upper()
        if verb == "ROLE":
            return b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
        if verb == "INFO":
            return b"$42\r\nrun_id:fake\r\nmaxmemory_policy:noeviction\r\n\r\n"
        if verb == "PING":
            return b"+PONG\r\n"
        if verb == "CLIENT":
            return b":7\r\n" if words[1] == "ID" else b"-ERR unknown subcommand\r\n"
        if verb == "SUBSCRIBE":
            return b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n" % (len(words[1]), words[1].encode())
        if verb == "TIME":
            return b"*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n"
        if verb == "HMGET":
            return b"*%d\r\n" % (len(words) - 2) + b"$-1\r\n" * (len(words) - 2)
        return b"*0\r\n" if verb in ("SMEMBERS", "HGETALL") else b"+OK\r\n"

    def count(self, verb):
        return len(self.times(verb))

    def times(self, verb):
        return [at for at, words in self.asked if words[0].upper() == verb]

    def close(self):
        self.ended = True
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)  # wakes accept(), which would take one more
        self.server.close()
        for link in self.links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
