# SPDX-License-Identifier: Apache-2.0
"""What a client gets when its SFU answers in bad faith: one table for HTTP, one for the WebSocket handshake.

Each answer is sent byte by byte as it stands. `evil` in it is what must not cross: no client ever sees it. After each row the
same router carries the next request to the same SFU, and its answer is its own.
"""
import asyncio

import pytest

from harness import until
from http1 import read_answer
from scripted_sfu import CLOSE, RESET, STAY, ScriptedSFU, accept_key

GARBAGE, CUT = (502, "node_unavailable"), "cut"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GET = b"GET /v1/rooms/r/signal/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD", 1)
UPGRADE = (b"GET /v1/rooms/r/signal HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: " + KEY.encode() + b"\r\nSec-WebSocket-Protocol: janus-protocol, other\r\n"
           b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-other\r\n\r\n")


def said(*fields, status=b"200 OK", version=b"HTTP/1.1", body=b"", end=b"\r\n"):
    return end.join([version + b" " + status, *fields, b"", b""]) + body


def ok(*fields, body=b"fine"):
    return said(*fields, b"Content-Length: %d" % len(body), body=body)


def chunks(body, *fields):
    return said(b"Transfer-Encoding: chunked", *fields, body=body)


FINE = (200, b"fine")
END = b"0\r\n\r\n"
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
HTTP = [
    # what the SFU says, what becomes of its connection, what the client gets
    ("an answer", ok(), STAY, FINE),
    ("no answer at all", b"", CLOSE, GARBAGE),
    ("a reset", b"", RESET, GARBAGE),
    ("silence", b"", STAY, GARBAGE),
    ("half a head, then silence", b"HTTP/1.1 200 OK\r\nX: evil", STAY, GARBAGE),
    ("half a head, then the end", b"HTTP/1.1 200 OK\r\nX: evil\r\n", CLOSE, GARBAGE),
    # status lines
    ("another protocol", b"SSH-2.0-evil\r\n\r\n", CLOSE, GARBAGE),
    ("no head, just a body", b"<html>evil</html>", CLOSE, GARBAGE),
    ("HTTP/2.0", said(b"Content-Length: 4", version=b"HTTP/2.0", body=b"evil"), CLOSE, GARBAGE),
    ("HTTP/1.2", said(b"Content-Length: 4", version=b"HTTP/1.2", body=b"evil"), CLOSE, GARBAGE),
    ("http/1.1", said(b"Content-Length: 4", version=b"http/1.1", body=b"evil"), CLOSE, GARBAGE),
    ("HTTP/1.0, which ends by closing", said(version=b"HTTP/1.0", body=b"fine"), CLOSE, FINE),
    ("a status of two digits", said(b"Content-Length: 4", status=b"20 OK", body=b"evil"), CLOSE, GARBAGE),
    ("a status of four digits", said(b"Content-Length: 4", status=b"2000 OK", body=b"evil"), CLOSE, GARBAGE),
    ("a status that is no number", said(b"Content-Length: 4", status=b"2x0 OK", body=b"evil"), CLOSE, GARBAGE),
    ("a status below zero", said(b"Content-Length: 4", status=b"-200 OK", body=b"evil"), CLOSE, GARBAGE),
    ("status 099", said(b"Content-Length: 4", status=b"099 Evil", body=b"evil"), CLOSE, GARBAGE),
    ("status 600", said(b"Content-Length: 4", status=b"600 Evil", body=b"evil"), CLOSE, GARBAGE),
    ("status 999", said(b"Content-Length: 4", status=b"999 Evil", body=b"evil"), CLOSE, GARBAGE),
    ("status 599, whatever that is", said(b"Content-Length: 4", status=b"599 evil", body=b"fine"), STAY, (599, b"fine")),
    ("no words behind the status", said(b"Content-Length: 4", status=b"200", body=b"fine"), STAY, FINE),
    ("a control byte behind the status", said(b"Content-Length: 4", status=b"200 evil\x1b[2J", body=b"evil"), CLOSE, GARBAGE),
    ("a line end in the words", said(b"Content-Length: 4", status=b"200 OK\rX: evil", body=b"fine"), CLOSE, FINE),
    # 1xx, redirects
    ("hints first", said(b"Link: <evil>", status=b"103 Early Hints") + ok(), STAY, FINE),
    ("100 without end", said(status=b"100 Continue") * 20 + ok(body=b"evil"), CLOSE, GARBAGE),
    ("100 that has a body", said(b"Content-Length: 4", status=b"100 Continue", body=b"evil") + ok(), CLOSE, GARBAGE),
    ("101 that nobody asked for", said(b"Connection: Upgrade", b"Upgrade: evil", status=b"101 Switching Protocols", body=b"evil"), STAY, GARBAGE),
    ("a redirect to usher's own network", said(b"Location: http://127.0.0.1:1/", b"Content-Length: 0", status=b"302 Found"), STAY, (302, b"")),
    ("a redirect to a file", said(b"Location: file:///etc/passwd", b"Content-Length: 0", status=b"307 Temporary Redirect"), STAY, (307, b"")),
    # lines of the head
    ("a blank before a colon", ok(b"X-Evil : 1", body=b"evil"), CLOSE, GARBAGE),
    ("a name that is no token", ok(b"X(evil): 1", body=b"evil"), CLOSE, GARBAGE),
    ("no name", ok(b": evil", body=b"evil"), CLOSE, GARBAGE),
    ("no colon", ok(b"evil", body=b"evil"), CLOSE, GARBAGE),
    ("a folded line", ok(b"ETag: evil", b" evil", body=b"evil"), CLOSE, GARBAGE),
    ("the first line folded", ok(b" ETag: evil", body=b"evil"), CLOSE, GARBAGE),
    ("a control byte in a value", ok(b"ETag: evil\x01", body=b"evil"), CLOSE, GARBAGE),
    ("DEL in a value", ok(b"ETag: evil\x7f", body=b"evil"), CLOSE, GARBAGE),
    ("NUL in a value", ok(b"ETag: evil\0", body=b"evil"), CLOSE, GARBAGE),
    ("NUL in a name", ok(b"ET\0ag: evil", body=b"evil"), CLOSE, GARBAGE),
    ("CR in a value", ok(b"ETag: x\rSet-Cookie: evil", body=b"evil"), CLOSE, GARBAGE),
    ("two CR at a line's end", ok(b"ETag: evil\r", body=b"evil"), CLOSE, GARBAGE),
    ("LF alone at a line's end", ok(b"ETag: x\nSet-Cookie: evil", body=b"evil"), CLOSE, GARBAGE),
    ("LF alone throughout", said(b"Content-Length: 4", end=b"\n", body=b"evil"), CLOSE, GARBAGE),
    ("65 lines", ok(*[b"X-%d: evil" % i for i in range(64)], body=b"evil"), CLOSE, GARBAGE),
    ("33 lines that would cross", ok(*[b"Link: <evil>"] * 33, body=b"evil"), CLOSE, GARBAGE),
    ("32 lines that cross", ok(*[b"Vary: x"] * 32), STAY, FINE),
    ("a head over 16 KiB", ok(b"X: " + b"evil" * 4200, body=b"evil"), CLOSE, GARBAGE),
    ("a line over a megabyte", ok(b"X: " + b"evil" * 300000, body=b"evil"), CLOSE, GARBAGE),
    # headers that stay
    ("cookies", ok(b"Set-Cookie: evil", b"Set-Cookie2: evil"), STAY, FINE),
    ("usher's own", ok(b"X-Usher-Node: evil", b"X-Usher-Epoch: evil", b"X-Request-Id: evil"), STAY, FINE),
    ("of one hop", ok(b"Keep-Alive: evil", b"Proxy-Authenticate: evil", b"Upgrade: evil", b"Proxy-Connection: evil", b"Trailer: evil"), STAY, FINE),
    ("named by Connection", ok(b"Connection: keep-alive, ETag", b"ETag: evil"), STAY, FINE),
    ("where it runs", ok(b"Server: evil", b"Via: evil", b"X-Powered-By: evil", b"Alt-Svc: evil", b"Strict-Transport-Security: evil"), STAY, FINE),
    ("what a browser would obey", ok(b"Clear-Site-Data: evil", b"Refresh: 0;url=evil", b"Service-Worker-Allowed: /evil", b"NEL: evil"), STAY, FINE),
    # framing
    ("both, the length first", said(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"4\r\nevil\r\n" + END), CLOSE, GARBAGE),
    ("both, the length last", chunks(b"4\r\nevil\r\n" + END, b"Content-Length: 4"), CLOSE, GARBAGE),
    ("twice the same length", said(b"Content-Length: 4", b"Content-Length: 4", body=b"evil"), CLOSE, GARBAGE),
    ("two lengths", said(b"Content-Length: 4", b"Content-Length: 0", body=b"evil"), CLOSE, GARBAGE),
    ("two in one", said(b"Content-Length: 4, 4", body=b"evil"), CLOSE, GARBAGE),
    ("a length with a sign", said(b"Content-Length: +4", body=b"evil"), CLOSE, GARBAGE),
    ("a length below zero", said(b"Content-Length: -4", body=b"evil"), CLOSE, GARBAGE),
    ("an empty length", said(b"Content-Length:", body=b"evil"), CLOSE, GARBAGE),
    ("a length in hex", said(b"Content-Length: 0x4", body=b"evil"), CLOSE, GARBAGE),
    ("a length over 2^63", said(b"Content-Length: 9223372036854775808", body=b"evil"), CLOSE, GARBAGE),
    ("a length over 2^64", said(b"Content-Length: 18446744073709551620", body=b"evil"), CLOSE, GARBAGE),
    ("chunked, chunked", said(b"Transfer-Encoding: chunked, chunked", body=b"4\r\nevil\r\n" + END), CLOSE, GARBAGE),
    ("chunked twice", chunks(b"4\r\nevil\r\n" + END, b"Transfer-Encoding: chunked"), CLOSE, GARBAGE),
    ("gzip, chunked", said(b"Transfer-Encoding: gzip, chunked", body=b"4\r\nevil\r\n" + END), CLOSE, GARBAGE),
    ("gzip, which curl would unpack", said(b"Transfer-Encoding: gzip", body=b"evil"), CLOSE, GARBAGE),
    ("identity", said(b"Transfer-Encoding: identity", body=b"evil"), CLOSE, GARBAGE),
    ("chunks on HTTP/1.0", said(b"Transfer-Encoding: chunked", version=b"HTTP/1.0", body=b"4\r\nevil\r\n" + END), CLOSE, GARBAGE),
    ("204 with a length", said(b"Content-Length: 4", status=b"204 No Content", body=b"evil"), STAY, GARBAGE),
    ("204 with chunks", said(b"Transfer-Encoding: chunked", status=b"204 No Content", body=b"4\r\nevil\r\n" + END), STAY, GARBAGE),
    ("204", said(status=b"204 No Content"), STAY, (204, b"")),
    ("304 with a length, of what it does not send", said(b"Content-Length: 99", status=b"304 Not Modified"), STAY, (304, b"")),
    # bodies
    ("chunks", chunks(b"4\r\nfine\r\n" + END), STAY, FINE),
    ("chunks with extensions and trailers", chunks(b"4;evil=1\r\nfine\r\n0;evil\r\nSet-Cookie: evil\r\n\r\n"), STAY, FINE),
    ("a chunk without a size", chunks(b"xx evil\r\n"), CLOSE, GARBAGE),
    ("a size below zero", chunks(b"-4\r\nevil\r\n" + END), CLOSE, GARBAGE),
    ("a size over 2^64", chunks(b"10000000000000004\r\nevil\r\n" + END), CLOSE, GARBAGE),
    ("a chunk longer than its size", chunks(b"2\r\nxxevil\r\n" + END), CLOSE, GARBAGE),
    ("the second chunk is bad, later", (chunks(b"4\r\nfine\r\n"), b"zz\r\nevil\r\n" + END), CLOSE, CUT),
    ("no last chunk", (chunks(b"4\r\nfine\r\n"), b""), CLOSE, CUT),
    ("short of its length", (said(b"Content-Length: 8", body=b"fine"), b""), CLOSE, CUT),
    ("silence in the middle", (said(b"Content-Length: 8", body=b"fine"), b""), STAY, CUT),
    ("a body of a HEAD", ok(body=b"evil"), STAY, (200, b"")),
    # a second answer, for the next one's request
    ("more than its length", ok() + b"evil", STAY, FINE),
    ("an answer behind it", ok() + NEXT, STAY, FINE),
    ("an answer behind it, later", (ok(), NEXT), STAY, FINE),
    ("an answer behind chunks", chunks(b"4\r\nfine\r\n" + END) + NEXT, STAY, FINE),
    ("an answer behind 204", said(status=b"204 No Content") + NEXT, STAY, (204, b"")),
    ("an answer behind 304", said(status=b"304 Not Modified") + NEXT, STAY, (304, b"")),
]


def switch(*fields, status=b"101 Switching Protocols", version=b"HTTP/1.1", upgrade=b"websocket", connection=b"Upgrade", accept=None, body=b""):
    """The right answer, but for what is said otherwise. accept: b"" for none."""
    def say(seen):
        right = accept_key(seen).encode() if accept is None else accept
        named = [(b"Upgrade", upgrade), (b"Connection", connection), (b"Sec-WebSocket-Accept", right)]
        return said(*[name + b": " + value for name, value in named if value], *fields, status=status, version=version, body=body)
    return say


OPEN = (101, b"")
WEBSOCKET = [
    ("right", switch(), STAY, OPEN),
    ("right, in other letters", switch(upgrade=b"WebSocket", connection=b"keep-alive, UPGRADE"), STAY, OPEN),
    ("hints first", lambda seen: said(b"Link: <evil>", status=b"103 Early Hints") + switch()(seen), STAY, OPEN),
    ("headers that stay", switch(b"Set-Cookie: evil", b"X-Usher-Node: evil", b"Server: evil", b"Sec-WebSocket-Evil: evil"), STAY, OPEN),
    ("a protocol that was offered", switch(b"Sec-WebSocket-Protocol: other"), STAY, OPEN),
    ("a protocol that was not", switch(b"Sec-WebSocket-Protocol: evil"), STAY, GARBAGE),
    ("a protocol in other letters", switch(b"Sec-WebSocket-Protocol: OTHER"), STAY, GARBAGE),
    ("all that were offered", switch(b"Sec-WebSocket-Protocol: janus-protocol, other"), STAY, GARBAGE),
    ("two protocols", switch(b"Sec-WebSocket-Protocol: other", b"Sec-WebSocket-Protocol: janus-protocol"), STAY, GARBAGE),
    ("an empty protocol", switch(b"Sec-WebSocket-Protocol:"), STAY, GARBAGE),
    ("an extension that was offered", switch(b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"), STAY, OPEN),
    ("an extension that was not", switch(b"Sec-WebSocket-Extensions: evil"), STAY, GARBAGE),
    ("one that was and one that was not", switch(b"Sec-WebSocket-Extensions: x-other, evil"), STAY, GARBAGE),
    ("the proof of another key", switch(accept=b"s3pPLMBiTxaQ9kYGzzhZRbK+xOa="), STAY, GARBAGE),
    ("the key as its proof", switch(accept=KEY.encode()), STAY, GARBAGE),
    ("the proof cut short", switch(accept=b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo"), STAY, GARBAGE),
    ("the proof in small letters", switch(accept=b"s3pplmbitxaq9kygzzhzrbk+xoo="), STAY, GARBAGE),
    ("no proof", switch(accept=b""), STAY, GARBAGE),
    ("the proof twice", lambda seen: switch(b"Sec-WebSocket-Accept: " + accept_key(seen).encode())(seen), STAY, GARBAGE),
    ("no Upgrade", switch(upgrade=b""), STAY, GARBAGE),
    ("to something else", switch(upgrade=b"h2c"), STAY, GARBAGE),
    ("to two", switch(upgrade=b"websocket, h2c"), STAY, GARBAGE),
    ("Upgrade twice", switch(b"Upgrade: h2c"), STAY, GARBAGE),
    ("no Connection", switch(connection=b""), STAY, GARBAGE),
    ("Connection: close", switch(connection=b"close"), STAY, GARBAGE),
    ("on HTTP/1.0", switch(version=b"HTTP/1.0"), STAY, GARBAGE),
    ("with a length", switch(b"Content-Length: 4", body=b"evil"), STAY, GARBAGE),
    ("with a length of 0, as some say", switch(b"Content-Length: 0"), STAY, OPEN),
    ("with chunks", switch(b"Transfer-Encoding: chunked", body=END), STAY, GARBAGE),
    ("200 with all the headers of 101", switch(b"Content-Length: 4", status=b"200 OK", body=b"fine"), STAY, FINE),
    ("status 600", switch(status=b"600 Evil"), STAY, GARBAGE),
    ("status 100 without end", said(status=b"100 Continue") * 20, STAY, GARBAGE),
    ("a control byte in a value", switch(b"X: evil\x01"), STAY, GARBAGE),
    ("NUL in a value", switch(b"X: evil\0"), STAY, GARBAGE),
    ("a blank before a colon", switch(b"X : evil"), STAY, GARBAGE),
    ("a folded line", switch(b"X: evil", b" evil"), STAY, GARBAGE),
    ("LF alone at a line's end", switch(b"X: evil\nY: evil"), STAY, GARBAGE),
    ("65 lines", switch(*[b"X: evil"] * 62), STAY, GARBAGE),
    ("a head over 16 KiB", switch(b"X: " + b"evil" * 4200), STAY, GARBAGE),
    ("a head without end", b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"evil" * 10000, STAY, GARBAGE),
    ("half a head, then the end", b"HTTP/1.1 101 Switching", CLOSE, GARBAGE),
    ("silence", b"", STAY, GARBAGE),
    ("a reset", b"", RESET, GARBAGE),
    ("another protocol", b"SSH-2.0-evil\r\n", STAY, GARBAGE),
    ("a refusal, in its own words", said(b"Content-Length: 4", b"Set-Cookie: evil", status=b"403 No", body=b"fine"), STAY, (403, b"fine")),
    ("a refusal in chunks", chunks(b"4;evil\r\nfine\r\n" + END), STAY, FINE),
    ("a redirect", said(b"Location: ws://127.0.0.1:1/evil", b"Content-Length: 0", status=b"302 Found"), STAY, (302, b"")),
    ("both framings", chunks(b"4\r\nevil\r\n" + END, b"Content-Length: 4"), STAY, GARBAGE),
    ("two lengths", said(b"Content-Length: 4", b"Content-Length: 5", body=b"evil"), STAY, GARBAGE),
    ("another coding", said(b"Transfer-Encoding: gzip", body=b"4\r\nevil\r\n" + END), STAY, GARBAGE),
    ("chunks on HTTP/1.0", said(b"Transfer-Encoding: chunked", version=b"HTTP/1.0", body=b"4\r\nevil\r\n" + END), STAY, GARBAGE),
    ("NUL behind a chunk's size", chunks(b"4\0\r\nevil\r\n" + END), STAY, GARBAGE),
    ("a blank behind a chunk's size", chunks(b"4 5\r\nevil\r\n" + END), STAY, GARBAGE),
    ("a chunk longer than its size", chunks(b"2\r\nxxevil\r\n" + END), STAY, GARBAGE),
    ("a refusal over 16 KiB is cut there", said(b"Content-Length: 40000", status=b"500 No", body=b"x" * 16384 + b"evil" * 5904), STAY, (500, b"x" * 16384)),
]


class Play:
    def __init__(self, router, sfu):
        self.router, self.sfu = router, sfu

    async def ask(self, request, until_upgraded=False):
        where, port = self.router.url.removeprefix("http://").rsplit(":", 1)
        reader, writer = await asyncio.open_connection(where, int(port), limit=1 << 20)
        writer.write(request)
        try:
            if until_upgraded:
                return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            return await asyncio.wait_for(reader.read(), 5)
        except asyncio.IncompleteReadError as broken:
            return broken.partial
        finally:
            writer.close()


@pytest.fixture(scope="module")
def play(shared_stage):
    sfu = ScriptedSFU()
    # Nothing is held against the node, so that each row meets it as the first did.
    router = shared_stage.router("server.workers=1", "sfu.response_timeout_ms=1000", "sfu.stream_idle_ms=1000", "sfu.call_timeout_ms=1000",
                                 "breaker.failures=1000", "breaker.min_calls=10000")
    shared_stage.node("n1", router, signal_url=sfu.url, control=False)
    router.wait_placeable("n1")
    assert router.join("r").status == 200
    yield Play(router, sfu)
    sfu.close()


async def parse(raw, request):
    reader = asyncio.StreamReader(limit=1 << 20)
    reader.feed_data(raw)
    reader.feed_eof()
    try:
        answer = await read_answer(reader, request.startswith(b"HEAD"))
    except asyncio.IncompleteReadError:
        return CUT, b""
    return answer, await reader.read()


async def meet(play, request, script, upgraded):
    play.sfu.requests.clear()
    turns = play.sfu.turns
    play.sfu.script = script
    raw = await play.ask(request, upgraded)
    until("the SFU has said it all", lambda: play.sfu.turns > turns)
    seen = len(play.sfu.requests)
    play.sfu.script = lambda seen: (ScriptedSFU.OK, STAY)
    following, _ = await parse(await play.ask(GET), GET)
    until("the SFU has said that, too: or the next row would count this turn for its own", lambda: play.sfu.turns > turns + 1)
    return raw, seen, following


def judge(play, request, script, got, upgraded=False):
    raw, seen, following = asyncio.run(meet(play, request, script, upgraded))
    answer, rest = asyncio.run(parse(raw, request))
    if got == CUT:
        assert answer == CUT, answer
    else:
        status, what = got
        assert (answer.status, answer.code() if isinstance(what, str) else answer.body) == (status, what), answer
        assert rest == b""
    assert b"evil" not in raw.lower(), raw
    assert seen == 1, "the request was sent again"
    assert (following.status, following.body) == (200, b"seen"), "the next request got another's answer"
    assert not play.sfu.faults


@pytest.mark.parametrize("words,after,got", [row[1:] for row in HTTP], ids=[row[0] for row in HTTP])
def test_answers(play, request, words, after, got):
    first, later = words if isinstance(words, tuple) else (words, None)
    judge(play, HEAD if "of a HEAD" in request.node.name else GET, lambda seen: (first, after, later), got)


@pytest.mark.parametrize("words,after,got", [row[1:] for row in WEBSOCKET], ids=[row[0] for row in WEBSOCKET])
def test_handshakes(play, words, after, got):
    judge(play, UPGRADE.replace(b"Connection: Upgrade", b"Connection: Upgrade, close"),
          lambda seen: (words(seen) if callable(words) else words, after), got, upgraded=got == OPEN)


def test_the_tables_have_no_padding():
    assert len(HTTP) + len(WEBSOCKET) >= 60
    for table in (HTTP, WEBSOCKET):
        assert len({row[0] for row in table}) == len(table)
