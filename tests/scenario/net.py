# SPDX-License-Identifier: Apache-2.0
"""Network namespaces, one for each program, joined by a bridge: so that a partition is one rule of iptables at one end.

The test itself steps into the hub, where participants are: who starts threads or programs afterwards is there with it.
Addresses exist inside these namespaces only. Needs root; delays are not for here (wire.py).
"""
import ctypes
import os
import pathlib
import shutil
import subprocess
import time

import pytest

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def run(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, words))}: {done.stderr}"


def step_into(fd):
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Net:
    count = 0

    def __init__(self):
        if os.geteuid() != 0:
            pytest.skip("namespaces need root")
        Net.count += 1
        self.prefix, self.hosts, self.cuts, self.resolvers = f"chaos{os.getpid()}-{Net.count}", {}, [], {}
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.hub = f"{self.prefix}-hub"
        run("ip", "netns", "add", self.hub)
        self._in(self.hub, "ip", "link", "set", "lo", "up")
        self._in(self.hub, "ip", "link", "add", "br0", "type", "bridge")
        self._in(self.hub, "ip", "addr", "add", "10.77.0.1/24", "dev", "br0")
        self._in(self.hub, "ip", "link", "set", "br0", "up")
        self._enter(self.hub)

    def _in(self, space, *words):
        run("nsenter", f"--net=/run/netns/{space}", *words)

    def _enter(self, space):
        fd = os.open(f"/run/netns/{space}", os.O_RDONLY)
        step_into(fd)
        os.close(fd)

    def host(self, name):
        """The address of a program, whose namespace is made when it is asked for first."""
        if name not in self.hosts:
            number = len(self.hosts) + 10
            space = f"{self.prefix}-{name}"
            run("ip", "netns", "add", space)
            self._in(self.hub, "ip", "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", space)
            self._in(self.hub, "ip", "link", "set", f"v{number}", "master", "br0", "up")
            self._in(space, "ip", "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            self._in(space, "ip", "link", "set", "lo", "up")
            self._in(space, "ip", "link", "set", "eth0", "up")
            self.hosts[name] = f"10.77.0.{number}"
        return self.hosts[name]

    def hub_address(self, address):
        """One more for the hub, where the test is."""
        self._in(self.hub, "ip", "addr", "add", f"{address}/24", "dev", "br0")

    def within(self, name):
        """Words to put before a command line, so that it runs there."""
        self.host(name)
        space = f"{self.prefix}-{name}"
        if name in self.resolvers:
            return ["ip", "netns", "exec", space]  # mounts its resolv.conf, which works nowhere but at a file system's root
        return ["nsenter", f"--net=/run/netns/{space}"]

    def cut(self, name, *others):
        """Nothing passes any more between name and the others, and nobody is told."""
        for other in others:
            for chain, side in (("INPUT", "-s"), ("OUTPUT", "-d")):
                rule = [chain, side, self.host(other), "-j", "DROP"]
                self._in(f"{self.prefix}-{name}", "iptables", "-w", "-A", *rule)
                self.cuts.append((name, rule))
        return time.monotonic()

    def heal(self):
        for name, rule in self.cuts:
            self._in(f"{self.prefix}-{name}", "iptables", "-w", "-D", *rule)
        self.cuts = []
        return time.monotonic()

    def resolver(self, name, server):
        """From the next start there, names are asked of this server."""
        if subprocess.run(["ip", "netns", "exec", self.hub, "true"], capture_output=True).returncode != 0:
            pytest.skip("a resolv.conf of its own needs a root that is a mount point, as a chroot's often is not")
        directory = pathlib.Path(f"/etc/netns/{self.prefix}-{name}")
        directory.mkdir(parents=True)
        (directory / "resolv.conf").write_text(f"nameserver {server}\noptions timeout:5 attempts:2\n")
        self.resolvers[name] = directory

    def close(self):
        for directory in self.resolvers.values():
            shutil.rmtree(directory)
        step_into(self.home)
        os.close(self.home)
        for space in [f"{self.prefix}-{name}" for name in self.hosts] + [self.hub]:
            run("ip", "netns", "del", space)
