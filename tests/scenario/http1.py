# SPDX-License-Identifier: Apache-2.0
"""As much HTTP/1.1 as the tests need, written out by hand so that nothing between the test and the wire is kind.

A request is sent as given (also malformed ones) and the answer is parsed strictly: exact framing, one status line.
"""
import asyncio
import json
import ssl
from urllib.parse import urlsplit


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def code(self):
        """The stable word of a refusal, None for an answer that is none."""
        kind = self.headers.get("content-type", "")
        return self.json()["code"] if kind.startswith("application/problem+json") else None

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


async def read_answer(reader, head_only=False):
    line = (await reader.readuntil(b"\r\n")).decode()
    version, status, *_ = line.split(" ", 2)
    assert version in ("HTTP/1.1", "HTTP/1.0"), line
    headers = {}
    while (line := (await reader.readuntil(b"\r\n")).decode("latin-1").rstrip("\r\n")):
        name, value = line.split(":", 1)
        headers[name.lower()] = value.strip()
    status = int(status)
    if status == 100:
        return await read_answer(reader, head_only)
    if head_only or status in (204, 304) or status == 101:
        return Answer(status, headers, b"")
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read()
    return Answer(status, headers, body)


def head(method, target, host, headers, length):
    lines = [f"{method} {target} HTTP/1.1"]
    if "host" not in {name.lower() for name in headers}:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


TRUST = ssl.create_default_context()  # of https: what trust() was told of
TRUST.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python has it from 3.13 on
TRUST.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0x80)  # an end must be said, or it is an error


def trust(ca_file):
    """From now on a certificate of this CA is good for all requests of this process."""
    TRUST.load_verify_locations(ca_file)


class Client:
    """One keep-alive connection."""

    def __init__(self, base, tls=TRUST):
        self.url, self.tls = urlsplit(base), tls
        self.reader = self.writer = None

    async def request(self, method, target, body=None, headers=None, timeout=10):
        return await asyncio.wait_for(self._request(method, target, body, dict(headers or {})), timeout)

    async def _request(self, method, target, body, headers):
        if self.writer is None:
            tls = self.tls if self.url.scheme == "https" else None
            self.reader, self.writer = await asyncio.open_connection(self.url.hostname, self.url.port, limit=1 << 20, ssl=tls)
        if body is not None and not isinstance(body, (bytes, bytearray)):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        self.writer.write(head(method, target, self.url.netloc, headers, None if body is None else len(body)) + (body or b""))
        answer = await read_answer(self.reader, method == "HEAD")
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None


async def fetch(method, url, body=None, headers=None, timeout=10, tls=TRUST):
    parts = urlsplit(url)
    client = Client(f"{parts.scheme}://{parts.netloc}", tls)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        return await client.request(method, target, body, headers, timeout)
    finally:
        client.close()


def call(method, url, body=None, headers=None, timeout=10, tls=TRUST):
    return asyncio.run(fetch(method, url, body, headers, timeout, tls))


async def raw(address, data, timeout=5):
    """Sends bytes as they are; the answers' bytes until the far side closes or falls silent after one answer."""
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        return await asyncio.wait_for(read_answer(reader), timeout)
    finally:
        writer.close()
