# SPDX-License-Identifier: Apache-2.0
"""The real HAProxy and nginx with the configurations that deploy/ has: only addresses and paths are others."""
import asyncio
import os
import re
import shutil
import ssl

from harness import ROOT, Process, free_port, until

ROUTERS = ("10.0.0.11:8080", "10.0.0.12:8080")


def replaced(text, pairs):
    for old, new in pairs:
        assert old in text, f"the committed file has no {old!r}"
        text = text.replace(old, str(new))
    return text


class Front(Process):
    """`routers`: two of them. Serves https on self.port, and redirects on self.plain."""

    def __init__(self, directory, routers, leaf, ca):
        self.port, self.plain, self.directory = free_port(), free_port(), directory
        self.context = ssl.create_default_context(cafile=ca.file)
        self.context.check_hostname = False  # tests name rooms.example.com, and ask 127.0.0.1
        self.address, self.url = f"127.0.0.1:{self.port}", f"https://127.0.0.1:{self.port}"
        hosts = list(zip(ROUTERS, (r.url[7:] for r in routers)))
        super().__init__(f"{type(self).__name__.lower()}-{self.port}", self.write(directory, hosts, leaf), directory)
        until(f"{self.name} listens", self.listens)

    def listens(self):
        assert self.child.poll() is None, self.log.read_text()
        return asyncio.run(self.try_it())

    async def try_it(self):
        try:
            _, writer = await self.connect()
            writer.close()
            return True
        except OSError:
            return False

    async def connect(self, source="127.0.0.1"):
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context, local_addr=(source, 0), limit=1 << 20)


class HAProxy(Front):
    program = shutil.which("haproxy") or "/usr/sbin/haproxy"

    def write(self, directory, hosts, leaf):
        pem = directory / f"haproxy-{self.port}.pem"
        pem.touch(mode=0o600)
        pem.write_bytes(leaf.cert.read_bytes() + leaf.key.read_bytes())
        text = replaced((ROOT / "deploy/haproxy/haproxy.cfg").read_text(), [
            ("bind :80\n", f"bind 127.0.0.1:{self.plain}\n"), ("bind :443 ", f"bind 127.0.0.1:{self.port} "), ("/etc/haproxy/usher.pem", pem),
            *hosts])
        if os.geteuid():  # only root can become somebody else
            text = re.sub(r"\t(user|group|chroot) .*\n", "", text)
        file = directory / f"haproxy-{self.port}.cfg"
        file.write_text(text)
        return [self.program, "-db", "-f", file]


class Nginx(Front):
    program = shutil.which("nginx") or "/usr/sbin/nginx"

    def write(self, directory, hosts, leaf):
        home = directory / f"nginx-{self.port}"
        home.mkdir()
        (home / "usher.conf").write_text(replaced((ROOT / "deploy/nginx/usher.conf").read_text(), [
            ("listen 80;", f"listen 127.0.0.1:{self.plain};"), ("listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;"),
            ("/etc/nginx/usher.pem", leaf.cert), ("/etc/nginx/usher.key", leaf.key), ("/var/log/nginx/usher.log", home / "access.log"), *hosts]))
        paths = "".join(f"{what}_temp_path {home / what};\n" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (home / "nginx.conf").write_text(f"daemon off;\nworker_processes 1;\npid {home}/pid;\nerror_log stderr;\n"
                                         f"events {{ worker_connections 1024; }}\nhttp {{\n{paths}include {home}/usher.conf;\n}}\n")
        return [self.program, "-p", home, "-c", home / "nginx.conf", "-e", "stderr"]
