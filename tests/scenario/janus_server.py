# SPDX-License-Identifier: Apache-2.0
"""A real Janus on loopback ports of the kernel's choice, configured by the templates of deploy/janus."""
import pathlib
import secrets
import shutil

import pytest

from harness import ROOT, call, free_port, until


class JanusConf:
    """A rendered configuration: what starts it, and what an agent must know of it."""

    def __init__(self, directory, name):
        self.name, self.directory = name, pathlib.Path(directory) / name
        self.http, self.ws, self.admin = free_port(), free_port(), free_port()
        self.admin_secret, self.admin_key = secrets.token_hex(16), secrets.token_hex(16)
        first = 20000 + 200 * (self.ws % 100)
        values = {"NAME": name, "HTTP_PORT": self.http, "WS_PORT": self.ws, "ADMIN_PORT": self.admin, "RTP_RANGE": f"{first}-{first + 199}",
                  "ADMIN_SECRET": self.admin_secret, "ADMIN_KEY": self.admin_key}
        self.directory.mkdir()
        for template in (ROOT / "deploy" / "janus").glob("*.jcfg.in"):
            text = template.read_text()
            for key, value in values.items():
                text = text.replace(f"@{key}@", str(value))
            (self.directory / template.stem).write_text(text)
        self.argv = [shutil.which("janus"), "-F", self.directory, "--disable-colors"]
        self.ws_url = f"ws://127.0.0.1:{self.ws}"

    def settings(self):
        """For Stage.agent(…, *settings, adapter="janus")."""
        return [f"agent.sfu_url={self.ws_url}", f"agent.sfu_http_url=http://127.0.0.1:{self.http}/janus",
                f"agent.sfu_admin_url=http://127.0.0.1:{self.admin}/admin", f"agent.admin_secret={self.admin_secret}",
                f"agent.admin_key={self.admin_key}"]

    def command(self):
        return "agent.command=" + " ".join(str(word) for word in self.argv)

    def answers(self):
        try:
            return call("GET", f"http://127.0.0.1:{self.http}/janus/info", timeout=2).status == 200
        except Exception:  # whatever a server says that is just starting
            return False

    def plugin(self, **request):
        """One request to the videoroom plugin by the admin API."""
        answer = call("POST", f"http://127.0.0.1:{self.admin}/admin", {
            "janus": "message_plugin", "transaction": "test", "admin_secret": self.admin_secret, "plugin": "janus.plugin.videoroom",
            "request": request})
        return answer.json()["response"]

    def rooms(self):
        listed = self.plugin(request="list", admin_key=self.admin_key)["list"]
        return {room["room"]: room["description"] for room in listed}


def start_janus(stage, name):
    """(configuration, process), answering."""
    if not shutil.which("janus"):
        pytest.skip("no janus on this machine")
    conf = JanusConf(stage.directory, name)
    process = stage.process(name, conf.argv)
    until(f"{name} answers", conf.answers)
    return conf, process
