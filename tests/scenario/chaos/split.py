# SPDX-License-Identifier: Apache-2.0
"""A primary (p), two replicas (s1, s2) and three Sentinels (q1 to q3), each in a namespace of its own."""
import redis

from harness import REDIS_SERVER, until

NAME = "usher-master"


class SplitRedis:
    def __init__(self, stage, net):
        self.stage, self.net = stage, net
        self.start("p")
        for name in ("s1", "s2"):
            self.start(name, "--replicaof", f"{net.host('p')} 6379")
        for name in ("s1", "s2"):
            until(f"{name} follows", lambda: self.client(name).info("replication")["master_link_status"] == "up")
        for name in ("q1", "q2", "q3"):
            self.sentinel(name)
        self.url = "redis+sentinel://" + ",".join(f"{net.host(q)}:26379" for q in ("q1", "q2", "q3")) + f"/{NAME}"
        for name in ("q1", "q2", "q3"):
            until(f"{name} knows all", lambda: self.knows(name))

    def client(self, name, port=6379):
        return redis.Redis(host=self.net.host(name), port=port, socket_timeout=2, decode_responses=True)

    def start(self, name, *words):
        process = self.stage.process(f"redis-{name}", [
            *self.net.within(name), REDIS_SERVER, "--port", "6379", "--bind", self.net.host(name), "--protected-mode", "no", "--save", "",
            "--appendonly", "no", "--repl-diskless-sync-delay", "0", "--dir", self.stage.directory, "--dbfilename", f"{name}.rdb", *words])
        until(f"{name} answers", lambda: self.answers(name))
        return process

    def answers(self, name, port=6379):
        try:
            return self.client(name, port).ping()
        except redis.RedisError:
            return False

    def sentinel(self, name):
        path = self.stage.directory / f"{name}.conf"
        path.write_text(f"port 26379\nbind {self.net.host(name)}\nprotected-mode no\ndir {self.stage.directory}\n"
                        f"sentinel monitor {NAME} {self.net.host('p')} 6379 2\nsentinel down-after-milliseconds {NAME} 1000\n"
                        f"sentinel failover-timeout {NAME} 4000\n")
        self.stage.process(f"sentinel-{name}", [*self.net.within(name), REDIS_SERVER, path, "--sentinel"])
        until(f"{name} answers", lambda: self.answers(name, 26379))

    def knows(self, name):
        row = self.client(name, 26379).sentinel_master(NAME)
        return row["num-other-sentinels"] == 2 and row["num-slaves"] == 2
