# SPDX-License-Identifier: Apache-2.0
"""What the edge makes of requests that are malformed, or nearly: one table of attacks.

Each row is sent byte by byte as it stands, on a connection of its own, and says what comes back (status and code; code None:
libmicrohttpd's own words), whether the connection then closes or serves a next request, and how many requests the SFU behind
saw: none of a refused one, exactly one of an accepted one, and never one more that was hidden in it.
"""
import asyncio
import contextlib
import time

import pytest

from harness import call
from http1 import read_answer
from scripted_sfu import ScriptedSFU

KEPT, CLOSED = "kept", "closed"
SILENT, HALF = "closed without a word", "half a request, then FIN"
BAD, METHOD, LARGE, LONG, BODY = "bad_request", "method_not_allowed", "headers_too_large", "uri_too_long", "payload_too_large"
OWN = None  # libmicrohttpd refused it before we were asked
PATH = b"/v1/rooms/r/signal/x"
HIDDEN = b"GET /v1/rooms/r/signal/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"


def line(text, *fields):
    """A whole head with this request line."""
    return b"\r\n".join([text, b"Host: localhost", *fields, b"", b""])


def get(*fields, method=b"GET", target=PATH, version=b"HTTP/1.1"):
    return line(b" ".join((method, target, version)), *fields)


def host(*fields):
    """A head that has only these."""
    return b"\r\n".join([b"GET " + PATH + b" HTTP/1.1", *fields, b"", b""])


def post(*fields, body=b""):
    return get(*fields, method=b"POST") + body


def chunked(body, *fields):
    return post(b"Transfer-Encoding: chunked", *fields, body=body)


def websocket(*fields, key=b"dGhlIHNhbXBsZSBub25jZQ==", connection=b"Upgrade", method=b"GET", version=b"HTTP/1.1"):
    return get(b"Upgrade: websocket", b"Connection: " + connection, b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + key,
               *fields, method=method, version=version)


REQUEST_LINES = [
    ("GET", get(), 200, None, KEPT, 1),
    ("HEAD", get(method=b"HEAD"), 200, None, KEPT, 1),
    ("OPTIONS of a path", get(method=b"OPTIONS"), 200, None, KEPT, 1),
    ("PATCH without a body", get(method=b"PATCH"), 200, None, KEPT, 1),
    ("TRACE", get(method=b"TRACE"), 405, METHOD, CLOSED, 0),
    ("TRACK", get(method=b"TRACK"), 405, METHOD, CLOSED, 0),
    ("CONNECT of a path", get(method=b"CONNECT"), 405, METHOD, CLOSED, 0),
    ("CONNECT as a proxy has it", get(method=b"CONNECT", target=b"localhost:80"), 400, BAD, CLOSED, 0),
    ("WebDAV", get(method=b"PROPFIND"), 405, METHOD, CLOSED, 0),
    ("a method in small letters", get(method=b"get"), 405, METHOD, CLOSED, 0),
    ("a method longer than any", get(method=b"GET" + b"T" * 300), 405, METHOD, CLOSED, 0),
    ("a method that begins as a known one, past 15 bytes", get(method=b"OPTIONS" + b"\x01" * 9), 405, METHOD, CLOSED, 0),
    ("a method with a colon", get(method=b"GET:"), 405, METHOD, CLOSED, 0),
    ("HTTP/2 by prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, OWN, CLOSED, 0),
    ("HTTP/1.2", get(version=b"HTTP/1.2"), 400, BAD, CLOSED, 0),
    ("HTTP/1.10", get(version=b"HTTP/1.10"), 400, OWN, CLOSED, 0),
    ("HTTP/01.1", get(version=b"HTTP/01.1"), 400, OWN, CLOSED, 0),
    ("HTTP/2.0", get(version=b"HTTP/2.0"), 505, OWN, CLOSED, 0),
    ("HTTP/0.9", get(version=b"HTTP/0.9"), 505, OWN, CLOSED, 0),
    ("http/1.1", get(version=b"http/1.1"), 400, OWN, CLOSED, 0),
    ("HTTP/1,1", get(version=b"HTTP/1,1"), 400, OWN, CLOSED, 0),
    ("HTTPS/1.1", get(version=b"HTTPS/1.1"), 400, OWN, CLOSED, 0),
    ("a blank behind the version", get(version=b"HTTP/1.1 "), 400, OWN, CLOSED, 0),
    ("a control byte behind the version", get(version=b"HTTP/1.1\x0b"), 400, OWN, CLOSED, 0),
    ("a fourth word", get(version=b"HTTP/1.1 HTTP/1.1"), 400, BAD, CLOSED, 0),
    ("no version", line(b"GET " + PATH), 400, OWN, CLOSED, 0),
    ("nothing but a method", line(b"GET"), SILENT, None, CLOSED, 0),
    ("HTTP/1.0, which closes", get(version=b"HTTP/1.0"), 200, None, CLOSED, 1),
    ("HTTP/1.0 without Host", b"GET " + PATH + b" HTTP/1.0\r\n\r\n", 400, BAD, CLOSED, 0),
    ("two blanks before the target", line(b"GET  " + PATH + b" HTTP/1.1"), 200, None, KEPT, 1),
    ("a tab before the target", line(b"GET\t" + PATH + b" HTTP/1.1"), 400, OWN, CLOSED, 0),
    ("a blank before the method", line(b" GET " + PATH + b" HTTP/1.1"), SILENT, None, CLOSED, 0),
    ("an empty line first, as old clients do", b"\r\n" + get(), 200, None, KEPT, 1),
    ("a request line that ends in LF", get().replace(b"1.1\r\n", b"1.1\n"), 200, None, KEPT, 1),
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n", 400, OWN, CLOSED, 0),
    ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", SILENT, None, CLOSED, 0),
    ("a PROXY protocol line that nobody asked for", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + get(), 400, OWN, CLOSED, 0),
]

TARGETS = [
    ("absolute form", get(target=b"http://localhost" + PATH), 400, BAD, CLOSED, 0),
    ("absolute form to somewhere else", get(target=b"http://10.0.0.1" + PATH), 400, BAD, CLOSED, 0),
    ("another scheme", get(target=b"file:///etc/passwd"), 400, BAD, CLOSED, 0),
    ("asterisk form", get(target=b"*", method=b"OPTIONS"), 400, BAD, CLOSED, 0),
    ("authority form", get(target=b"localhost:80"), 400, BAD, CLOSED, 0),
    ("no slash first", get(target=PATH[1:]), 400, BAD, CLOSED, 0),
    ("a backslash first", get(target=b"\\v1\\rooms"), 400, BAD, CLOSED, 0),
    ("two slashes first", get(target=b"/" + PATH), 404, "not_found", KEPT, 0),
    ("a fragment", get(target=PATH + b"#x"), 400, BAD, CLOSED, 0),
    ("a fragment in the query", get(target=PATH + b"?a#x"), 400, BAD, CLOSED, 0),
    ("a blank in the target", get(target=PATH + b" y"), 400, BAD, CLOSED, 0),
    ("a tab in the target", get(target=PATH + b"\ty"), 400, BAD, CLOSED, 0),
    ("a control byte in the target", get(target=PATH + b"\x01"), 400, BAD, CLOSED, 0),
    ("a control byte in the query", get(target=PATH + b"?a=\x1b"), 400, BAD, CLOSED, 0),
    ("DEL in the target", get(target=PATH + b"\x7f"), 400, BAD, CLOSED, 0),
    ("UTF-8 that is not encoded", get(target=PATH + "ü".encode()), 400, BAD, CLOSED, 0),
    ("NUL in the target, which ends there", get(target=PATH + b"\0/hidden"), 200, None, KEPT, 1),
    ("an encoded slash stays in its name", get(target=PATH + b"%2Fy"), 200, None, KEPT, 1),
    ("twice encoded is decoded once", get(target=PATH + b"%252e%252e"), 200, None, KEPT, 1),
    ("a question mark in the query", get(target=PATH + b"?a?b"), 200, None, KEPT, 1),
    ("dots that climb", get(target=PATH + b"/../../admin"), 400, BAD, KEPT, 0),
    ("encoded dots that climb", get(target=PATH + b"/%2e%2E/admin"), 400, BAD, KEPT, 0),
    ("dots behind an encoded slash", get(target=PATH + b"%2f..%2fadmin"), 400, BAD, KEPT, 0),
    ("dots behind a backslash", get(target=PATH + b"\\..\\admin"), 400, BAD, KEPT, 0),
    ("dots behind an encoded backslash", get(target=PATH + b"%5c..%5cadmin"), 400, BAD, KEPT, 0),
    ("dots at the end", get(target=PATH + b"/.."), 400, BAD, KEPT, 0),
    ("dots in a name", get(target=PATH + b"/..a/b.."), 200, None, KEPT, 1),
    ("half an encoded byte", get(target=PATH + b"%2"), 400, BAD, KEPT, 0),
    ("an encoded byte that is none", get(target=PATH + b"%zz"), 400, BAD, KEPT, 0),
    ("an encoded NUL", get(target=PATH + b"%00.png"), 400, BAD, KEPT, 0),
    ("an encoded line end", get(target=PATH + b"%0d%0aHost:%20evil"), 400, BAD, KEPT, 0),
    ("a room with an encoded NUL", get(target=b"/v1/rooms/r%00/signal/x"), 400, "invalid_room", KEPT, 0),
    ("a room with a line end", get(target=b"/v1/rooms/r%0d%0aX:y/signal/x"), 400, "invalid_room", KEPT, 0),
    ("a room in overlong UTF-8", get(target=b"/v1/rooms/%c0%ae%c0%ae/signal/x"), 400, "invalid_room", KEPT, 0),
    ("a room that climbs", get(target=b"/v1/rooms/%2e%2e/signal/x"), 400, "invalid_room", KEPT, 0),
    ("the path in capitals", get(target=b"/V1/rooms/r/signal/x"), 404, "not_found", KEPT, 0),
    ("a target over the limit", get(target=PATH + b"?" + b"a" * 16500), 414, LONG, CLOSED, 0),
    ("a target over all memory", get(target=PATH + b"?" + b"a" * 60000), 414, OWN, CLOSED, 0),
]

HOSTS = [
    ("no Host", host(), 400, BAD, CLOSED, 0),
    ("the same Host twice", host(b"Host: localhost", b"Host: localhost"), 400, BAD, CLOSED, 0),
    ("two Hosts", host(b"Host: localhost", b"host: evil.example"), 400, BAD, CLOSED, 0),
    ("two in one", host(b"Host: localhost, evil.example"), 400, BAD, CLOSED, 0),
    ("two by a blank", host(b"Host: localhost evil.example"), 400, BAD, CLOSED, 0),
    ("an empty Host", host(b"Host:"), 400, BAD, CLOSED, 0),
    ("a blank Host", host(b"Host: \t "), 400, BAD, CLOSED, 0),
    ("somebody else's", host(b"Host: evil.example"), 400, BAD, KEPT, 0),
    ("ours as a prefix", host(b"Host: localhost.evil.example"), 400, BAD, KEPT, 0),
    ("in capitals", host(b"Host: LOCALHOST"), 200, None, KEPT, 1),
    ("with a port", host(b"Host: localhost:8080"), 200, None, KEPT, 1),
    ("IPv6", host(b"Host: [::1]:8080"), 200, None, KEPT, 1),
    ("a port that is none", host(b"Host: localhost:http"), 400, BAD, CLOSED, 0),
    ("a port over 65535", host(b"Host: localhost:65536"), 400, BAD, CLOSED, 0),
    ("an empty port", host(b"Host: localhost:"), 400, BAD, CLOSED, 0),
    ("two ports", host(b"Host: localhost:80:80"), 400, BAD, CLOSED, 0),
    ("ours as a user name", host(b"Host: localhost:80@evil.example"), 400, BAD, CLOSED, 0),
    ("a user name", host(b"Host: evil@localhost"), 400, BAD, CLOSED, 0),
    ("ours in brackets, then more", host(b"Host: [::1].evil.example"), 400, BAD, CLOSED, 0),
    ("a bracket that does not close", host(b"Host: [::1"), 400, BAD, CLOSED, 0),
    ("with a path", host(b"Host: localhost/evil"), 400, BAD, CLOSED, 0),
    ("with a query behind the port", host(b"Host: localhost:80?evil"), 400, BAD, CLOSED, 0),
    ("a URL", host(b"Host: http://localhost"), 400, BAD, CLOSED, 0),
    ("encoded", host(b"Host: %6cocalhost"), 400, BAD, CLOSED, 0),
    ("in full-width letters", host("Host: ｌocalhost".encode()), 400, BAD, CLOSED, 0),
    ("a blank before the colon", host(b"Host : localhost"), 400, BAD, CLOSED, 0),
    ("folded", host(b"Host:", b" localhost"), 400, BAD, CLOSED, 0),
    ("by X-Forwarded-Host alone", host(b"X-Forwarded-Host: localhost"), 400, BAD, CLOSED, 0),
]

LINES = [
    ("a name with a tab", get(b"X\tY: 1"), 400, BAD, CLOSED, 0),
    ("a blank before the colon", get(b"X : 1"), 400, BAD, CLOSED, 0),
    ("a name with a bracket", get(b"X(Y): 1"), 400, BAD, CLOSED, 0),
    ("a name in quotes", get(b'"X": 1'), 400, BAD, CLOSED, 0),
    ("a name with an at sign", get(b"X@Y: 1"), 400, BAD, CLOSED, 0),
    ("a name with a slash", get(b"X/Y: 1"), 400, BAD, CLOSED, 0),
    ("a name in UTF-8", get("Ü: 1".encode()), 400, BAD, CLOSED, 0),
    ("a name with a control byte", get(b"X\x01: 1"), 400, BAD, CLOSED, 0),
    ("a name with DEL", get(b"X\x7f: 1"), 400, BAD, CLOSED, 0),
    ("a name with a line's end in it", get(b"X\x0bTransfer-Encoding: chunked"), 400, BAD, CLOSED, 0),
    ("no name, which is dropped", get(b": 1"), 200, None, KEPT, 1),
    ("no colon", get(b"X"), 400, OWN, CLOSED, 0),
    ("NUL in a name", get(b"X\0: 1"), 400, OWN, CLOSED, 0),
    ("all that a name may have", get(b"!#$%&'*+-.^_`|~09azAZ: 1"), 200, None, KEPT, 1),
    ("the first line folded", host(b" Host: localhost"), 400, BAD, CLOSED, 0),
    ("a control byte in a value", get(b"X: a\x01b"), 400, BAD, CLOSED, 0),
    ("a backspace in a value", get(b"User-Agent: a\x08b"), 400, BAD, CLOSED, 0),
    ("a vertical tab in a value", get(b"X: a\x0bb"), 400, BAD, CLOSED, 0),
    ("a form feed before a value", get(b"X: \x0cb"), 400, BAD, CLOSED, 0),
    ("an escape sequence in a value", get(b"User-Agent: \x1b[2J"), 400, BAD, CLOSED, 0),
    ("DEL in a value", get(b"X: a\x7f"), 400, BAD, CLOSED, 0),
    ("a tab in a value", get(b"User-Agent: a\tb"), 200, None, KEPT, 1),
    ("bytes over 127 in a value", get(b"User-Agent: \xff\xfe"), 200, None, KEPT, 1),
    ("NUL in a value, which ends there", get(b"User-Agent: a\0b"), 200, None, KEPT, 1),
    ("a value folded", get(b"X-A: b", b" c"), 200, None, KEPT, 1),
    ("a value folded over a header", get(b"X-A: b", b"\tX-B: c"), 400, BAD, CLOSED, 0),
    ("a line that ends in LF", get(b"X-A: b\nX-B: c"), 200, None, KEPT, 1),
    ("a line that ends in CR", get(b"X-A: b\rX-B: c"), 400, BAD, CLOSED, 0),
    ("a head that ends in LF LF", get()[:-4] + b"\n\n", 200, None, KEPT, 1),
    ("64 lines", get(*[b"X-%d: y" % i for i in range(63)]), 200, None, KEPT, 1),
    ("65 lines", get(*[b"X-%d: y" % i for i in range(64)]), 431, LARGE, CLOSED, 0),
    ("65 of one name", get(*[b"Accept: a"] * 64), 431, LARGE, CLOSED, 0),
    ("one line over the limit", get(b"X: " + b"y" * 17000), 431, LARGE, CLOSED, 0),
    ("a name over the limit", get(b"X" * 17000 + b": y"), 431, LARGE, CLOSED, 0),
    ("all lines over the limit", get(*[b"X-%02d: " % i + b"y" * 400 for i in range(50)]), 431, LARGE, CLOSED, 0),
    ("a line over all memory", get(b"X: " + b"y" * 60000), 431, OWN, CLOSED, 0),
]

LENGTHS = [
    ("a body", post(b"Content-Length: 5", body=b"hello"), 200, None, KEPT, 1),
    ("an empty body", post(b"Content-Length: 0"), 200, None, KEPT, 1),
    ("in small letters", post(b"content-length:5", body=b"hello"), 200, None, KEPT, 1),
    ("leading zeros are digits", post(b"Content-Length: 0005", body=b"hello"), 200, None, KEPT, 1),
    ("a sign", post(b"Content-Length: +5", body=b"hello"), 400, OWN, CLOSED, 0),
    ("below zero", post(b"Content-Length: -5", body=b"hello"), 400, OWN, CLOSED, 0),
    ("in hex", post(b"Content-Length: 0x5", body=b"hello"), 400, OWN, CLOSED, 0),
    ("with a point", post(b"Content-Length: 5.0", body=b"hello"), 400, OWN, CLOSED, 0),
    ("with an exponent", post(b"Content-Length: 5e0", body=b"hello"), 400, OWN, CLOSED, 0),
    ("with an underscore", post(b"Content-Length: 0_5", body=b"hello"), 400, OWN, CLOSED, 0),
    ("a list of the same", post(b"Content-Length: 5, 5", body=b"hello"), 400, OWN, CLOSED, 0),
    ("a list of two", post(b"Content-Length: 5,0", body=b"hello"), 400, OWN, CLOSED, 0),
    ("two words", post(b"Content-Length: 5 0", body=b"hello"), 400, OWN, CLOSED, 0),
    ("no number", post(b"Content-Length: five", body=b"hello"), 400, OWN, CLOSED, 0),
    ("empty", post(b"Content-Length:", body=b"hello"), 400, OWN, CLOSED, 0),
    ("digits of another script", post("Content-Length: ٥".encode(), body=b"hello"), 400, OWN, CLOSED, 0),
    ("behind a vertical tab", post(b"Content-Length: \x0b5", body=b"hello"), 400, OWN, CLOSED, 0),
    ("before a form feed", post(b"Content-Length: 5\x0c", body=b"hello"), 400, OWN, CLOSED, 0),
    ("2^63", post(b"Content-Length: 9223372036854775808"), 400, BAD, CLOSED, 0),
    ("2^64", post(b"Content-Length: 18446744073709551616"), 413, OWN, CLOSED, 0),
    ("2^64 + 5", post(b"Content-Length: 18446744073709551621", body=b"hello"), 413, OWN, CLOSED, 0),
    ("twice the same", post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"), 400, BAD, CLOSED, 0),
    ("twice", post(b"Content-Length: 5", b"Content-Length: 0", body=b"hello" + HIDDEN), 400, BAD, CLOSED, 0),
    ("twice, the other way round", post(b"Content-Length: 0", b"Content-Length: %d" % len(HIDDEN), body=HIDDEN), 400, BAD, CLOSED, 0),
    ("a blank before the colon", post(b"Content-Length : 5", body=b"hello"), 400, BAD, CLOSED, 0),
    ("a blank in the name", post(b"Content Length: 5", body=b"hello"), 400, BAD, CLOSED, 0),
    ("folded before the number", post(b"Content-Length:", b" 5", body=b"hello"), 400, BAD, CLOSED, 0),
    ("folded behind the number", post(b"Content-Length: 0", b" 5", body=b"hello"), 400, BAD, CLOSED, 0),
    ("an underscore makes another header", get(b"Content_Length: 5"), 200, None, KEPT, 1),
    ("a body over the limit", line(b"POST /v1/rooms/r/join HTTP/1.1", b"Content-Type: application/json", b"Content-Length: 65537"),
     413, BODY, CLOSED, 0),
    ("of a GET, whose body is no request", get(b"Content-Length: %d" % len(HIDDEN)) + HIDDEN, 200, None, KEPT, 1),
    ("of a DELETE", get(b"Content-Length: 5", method=b"DELETE") + b"hello", 200, None, KEPT, 1),
    ("of a GET that takes none, whose body is no request",
     line(b"GET /livez HTTP/1.1", b"Content-Length: %d" % len(HIDDEN)) + HIDDEN, 200, None, KEPT, 0),
    ("of a HEAD", get(b"Content-Length: 5", method=b"HEAD") + b"hello", 200, None, KEPT, 1),
    ("short of a byte, then nothing", post(b"Content-Length: 6", body=b"hello"), HALF, None, CLOSED, 0),
]

END = b"0\r\n\r\n"
HELLO = b"5\r\nhello\r\n"
CODINGS = [
    ("chunks", chunked(HELLO + END), 200, None, KEPT, 1),
    ("no chunk but the last", chunked(END), 200, None, KEPT, 1),
    ("in capitals", post(b"TRANSFER-ENCODING: CHUNKED", body=HELLO + END), 200, None, KEPT, 1),
    ("of a GET", get(b"Transfer-Encoding: chunked") + HELLO + END, 200, None, KEPT, 1),
    ("a tab before the value", post(b"Transfer-Encoding:\tchunked", body=HELLO + END), 200, None, KEPT, 1),
    ("both, the length first", post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN), 400, BAD, CLOSED, 0),
    ("both, the length last", post(b"Transfer-Encoding: chunked", b"Content-Length: 6", body=END + HIDDEN), 400, BAD, CLOSED, 0),
    ("both, a length of 0", post(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=END), 400, BAD, CLOSED, 0),
    ("twice", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=END), 400, BAD, CLOSED, 0),
    ("twice, one unknown", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: cow", body=END + HIDDEN), 400, BAD, CLOSED, 0),
    ("twice, one of them empty", post(b"Transfer-Encoding:", b"Transfer-Encoding: chunked", body=END), 400, BAD, CLOSED, 0),
    ("on HTTP/1.0", get(b"Transfer-Encoding: chunked", method=b"POST", version=b"HTTP/1.0") + END, 400, BAD, CLOSED, 0),
    ("identity", post(b"Transfer-Encoding: identity", body=HIDDEN), 400, BAD, CLOSED, 0),
    ("gzip, then chunked", post(b"Transfer-Encoding: gzip, chunked", body=END), 400, BAD, CLOSED, 0),
    ("chunked, then gzip", post(b"Transfer-Encoding: chunked, gzip", body=END), 400, BAD, CLOSED, 0),
    ("chunked, chunked", post(b"Transfer-Encoding: chunked, chunked", body=END), 400, BAD, CLOSED, 0),
    ("a list with an empty member", post(b"Transfer-Encoding: ,chunked", body=END), 400, BAD, CLOSED, 0),
    ("with a parameter", post(b"Transfer-Encoding: chunked;q=1", body=END), 400, BAD, CLOSED, 0),
    ("in quotes", post(b'Transfer-Encoding: "chunked"', body=END), 400, BAD, CLOSED, 0),
    ("a letter more", post(b"Transfer-Encoding: xchunked", body=END + HIDDEN), 400, BAD, CLOSED, 0),
    ("a letter less", post(b"Transfer-Encoding: chunke", body=END + HIDDEN), 400, BAD, CLOSED, 0),
    ("a blank behind", post(b"Transfer-Encoding: chunked ", body=END + HIDDEN), 400, BAD, CLOSED, 0),
    ("a vertical tab before", post(b"Transfer-Encoding: \x0bchunked", body=END + HIDDEN), 400, BAD, CLOSED, 0),
    ("a form feed behind", post(b"Transfer-Encoding: chunked\x0c", body=END + HIDDEN), 400, BAD, CLOSED, 0),
    ("empty", post(b"Transfer-Encoding:", body=HIDDEN), 400, BAD, CLOSED, 0),
    ("a blank before the colon", post(b"Transfer-Encoding : chunked", body=END + HIDDEN), 400, BAD, CLOSED, 0),
    ("a blank in the name", post(b"Transfer Encoding: chunked", body=END + HIDDEN), 400, BAD, CLOSED, 0),
    ("folded before the value", post(b"Transfer-Encoding:", b" chunked", body=END + HIDDEN), 400, BAD, CLOSED, 0),
    ("folded behind the value", post(b"Transfer-Encoding: chunked", b" , identity", body=END + HIDDEN), 400, BAD, CLOSED, 0),
    ("folded within the value", post(b"Transfer-Encoding: chu", b"\tnked", body=END + HIDDEN), 400, BAD, CLOSED, 0),
    ("hidden in another's fold", post(b"X: y", b" Transfer-Encoding: chunked", body=END + HIDDEN), 400, BAD, CLOSED, 0),
    ("behind CR alone, and a length", post(b"Content-Length: 5", b"X: y\rTransfer-Encoding: chunked", body=END), 400, BAD, CLOSED, 0),
    ("behind LF alone, and a length", post(b"Content-Length: 5", b"X: y\nTransfer-Encoding: chunked", body=END), 400, BAD, CLOSED, 0),
    ("NUL behind the value, which ends there", post(b"Transfer-Encoding: chunked\0, x", body=HELLO + END), 200, None, KEPT, 1),
    ("named by Connection", chunked(HELLO + END, b"Connection: Transfer-Encoding"), 200, None, KEPT, 1),
    ("TE that offers trailers", chunked(HELLO + END, b"TE: trailers", b"Connection: TE"), 200, None, KEPT, 1),
]

CHUNKS = [
    ("capitals in a size", chunked(b"A\r\n0123456789\r\n" + END), 200, None, KEPT, 1),
    ("zeros before a size", chunked(b"0005\r\nhello\r\n" + END), 200, None, KEPT, 1),
    ("an extension", chunked(b"5;a=b\r\nhello\r\n" + END), 200, None, KEPT, 1),
    ("an extension in quotes that holds a line", chunked(b'5;a="x y"\r\nhello\r\n' + END), 200, None, KEPT, 1),
    ("a size line that ends in LF", chunked(b"5\nhello\r\n" + END), 200, None, KEPT, 1),
    ("data that ends in LF", chunked(b"5\r\nhello\n" + END), 200, None, KEPT, 1),
    ("trailers", chunked(HELLO + b"0\r\nX-Trailer: t\r\n\r\n"), 200, None, KEPT, 1),
    ("trailers that frame", chunked(HELLO + b"0\r\nContent-Length: 99\r\nTransfer-Encoding: x\r\n\r\n"), 200, None, KEPT, 1),
    ("trailers that name a room", chunked(HELLO + b"0\r\nX-Usher-Room: forged\r\n\r\n"), 200, None, KEPT, 1),
    ("no hex", chunked(b"g\r\nhello\r\n" + END), 400, OWN, CLOSED, 0),
    ("no size", chunked(b"\r\nhello\r\n" + END), 400, OWN, CLOSED, 0),
    ("only an extension", chunked(b";a=b\r\nhello\r\n" + END), 400, OWN, CLOSED, 0),
    ("below zero", chunked(b"-5\r\nhello\r\n" + END), 400, OWN, CLOSED, 0),
    ("a sign", chunked(b"+5\r\nhello\r\n" + END), 400, OWN, CLOSED, 0),
    ("0x", chunked(b"0x5\r\nhello\r\n" + END), 400, OWN, CLOSED, 0),
    ("an underscore", chunked(b"0_5\r\nhello\r\n" + END), 400, OWN, CLOSED, 0),
    ("a blank before", chunked(b" 5\r\nhello\r\n" + END), 400, OWN, CLOSED, 0),
    ("2^64 + 5", chunked(b"10000000000000005\r\nhello\r\n" + END), 413, OWN, CLOSED, 0),
    ("more data than said", chunked(b"3\r\nhello\r\n" + END), 400, OWN, CLOSED, 0),
    ("less data than said: LF ends it, and CR is data", chunked(b"6\r\nhello\r\n" + END), 200, None, KEPT, 1),
    ("a comma behind the size", chunked(b"5,5\r\nhello\r\n" + END), 400, OWN, CLOSED, 0),
    ("the second is bad", chunked(HELLO + b"z\r\n" + END), 400, OWN, CLOSED, 0),
    ("a chunk that is a request", chunked(b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n" + END), 200, None, KEPT, 1),
    ("an extension that is a request", chunked(b"5;" + HIDDEN.split(b"\r\n")[0] + b"\r\nhello\r\n" + END), 200, None, KEPT, 1),
    ("all chunks over the limit", line(b"POST /v1/rooms/r/join HTTP/1.1", b"Content-Type: application/json",
                                       b"Transfer-Encoding: chunked") + (b"2000\r\n" + b" " * 8192 + b"\r\n") * 9 + END, 413, BODY, KEPT, 0),
    ("no last chunk, then nothing", chunked(HELLO), HALF, None, CLOSED, 0),
]

FOLLOWERS = [
    ("two at once are two", get() + HIDDEN, (200, 200), None, KEPT, 2),
    ("a body, then another", post(b"Content-Length: 5", body=b"hello") + HIDDEN, (200, 200), None, KEPT, 2),
    ("chunks, then another", chunked(HELLO + END) + HIDDEN, (200, 200), None, KEPT, 2),
    ("a good one, then a bad one", get() + get(b"X : y") + HIDDEN, (200, 400), BAD, CLOSED, 1),
    ("a bad one, then a good one", get(b"X : y") + HIDDEN, 400, BAD, CLOSED, 0),
    ("Connection: close, then another", get(b"Connection: close") + HIDDEN, 200, None, CLOSED, 1),
    ("HTTP/1.0, then another", get(version=b"HTTP/1.0") + HIDDEN, 200, None, CLOSED, 1),
    ("expects 100", post(b"Content-Length: 5", b"Expect: 100-continue", body=b"hello"), 200, None, KEPT, 1),
    ("expects what nobody knows", post(b"Content-Length: 5", b"Expect: a miracle", body=b"hello"), 200, None, KEPT, 1),
    ("expects 100, and is refused", post(b"Content-Length: 5", b"Expect: 100-continue", b"X : y"), 400, BAD, CLOSED, 0),
    ("h2c", get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), 200, None, KEPT, 1),
    ("Upgrade without Connection is none", websocket(connection=b"keep-alive"), 200, None, KEPT, 1),
    ("Upgrade to two protocols", get(b"Connection: Upgrade", b"Upgrade: websocket, h2c"), 200, None, KEPT, 1),
    ("Upgrade to h2c, then to WebSocket, is none", get(b"Upgrade: h2c")[:-2] + websocket().split(b"\r\n", 2)[2], 200, None, KEPT, 1),
    ("Upgrade of a POST", websocket(method=b"POST"), 200, None, KEPT, 1),
    ("Upgrade on HTTP/1.0 is none", websocket(version=b"HTTP/1.0"), 200, None, CLOSED, 1),
    ("Upgrade with a body that is a request", websocket(b"Content-Length: %d" % len(HIDDEN)) + HIDDEN, 400, BAD, CLOSED, 0),
    ("Upgrade with chunks", websocket(b"Transfer-Encoding: chunked") + END, 400, BAD, CLOSED, 0),
    ("Upgrade with two keys", websocket(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400, BAD, KEPT, 0),
    ("Upgrade with a short key", websocket(key=b"AAAA"), 400, BAD, KEPT, 0),
    ("Upgrade without a key", get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"), 400, BAD, KEPT, 0),
    ("Upgrade of another version", websocket(b"Sec-WebSocket-Version: 8"), 400, BAD, KEPT, 0),
    ("Upgrade from another origin", websocket(b"Origin: https://evil.example"), 403, "forbidden", KEPT, 0),
    ("Upgrade refused, a request behind it", websocket() + HIDDEN, (200, 200), None, KEPT, 2),
    ("more headers that cross than fit", websocket(*[b"Accept: a%d" % i for i in range(40)]), 431, LARGE, KEPT, 0),
]

TABLE = [(f"{kind}: {row[0]}", *row[1:]) for kind, rows in (
    ("line", REQUEST_LINES), ("target", TARGETS), ("host", HOSTS), ("header", LINES), ("length", LENGTHS), ("coding", CODINGS),
    ("chunk", CHUNKS), ("follow", FOLLOWERS)) for row in rows]


class Play:
    def __init__(self, router, sfu):
        self.router, self.sfu, self.address = router, sfu, router.url.removeprefix("http://")

    async def connect(self):
        where, port = self.address.rsplit(":", 1)
        return await asyncio.open_connection(where, int(port), limit=1 << 20)

    async def fence(self):
        """Once the worker, there is only one, has served this, it has served whatever was hidden in what came before."""
        reader, writer = await self.connect()
        writer.write(get(b"Connection: close", target=b"/v1/rooms/r/signal/fence"))
        assert (await asyncio.wait_for(read_answer(reader), 5)).status == 200
        writer.close()

    def seen(self):
        """What the SFU saw since, the fence aside."""
        seen, self.sfu.requests[:] = list(self.sfu.requests), []
        assert seen.pop().target == "/sfu/fence", seen
        return seen


@pytest.fixture(scope="module")
def play(shared_stage):
    sfu = ScriptedSFU()
    router = shared_stage.router("server.workers=1")
    shared_stage.node("n1", router, signal_url=sfu.url, control=False)
    router.wait_placeable("n1")
    assert router.join("r").status == 200
    yield Play(router, sfu)
    sfu.close()


async def kept(reader, writer):
    """Does the connection serve another request, or has it ended (without a word more)?"""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        writer.write(line(b"GET /livez HTTP/1.1"))
        return (await asyncio.wait_for(read_answer(reader), 5)).status == 200
    return False


async def talk(play, request, statuses):
    reader, writer = await play.connect()
    writer.write(request)
    if statuses[0] in (SILENT, HALF):
        if statuses[0] == HALF:
            writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b"", "it was answered"
        return None, CLOSED
    for status in statuses:
        answer = await asyncio.wait_for(read_answer(reader, request.startswith(b"HEAD")), 5)
        assert answer.status == status, (answer, answer.headers)
    says_close = answer.headers.get("connection", "").lower() == "close"
    rest = await asyncio.wait_for(reader.read(), 5) if says_close else b""
    # Of a bad length libmicrohttpd says its refusal's head twice, and closes.
    assert rest == b"" or (answer.code() is OWN and answer.status >= 400 and b"HTTP/1." not in rest), "something follows the last answer"
    after = KEPT if not says_close and await kept(reader, writer) else CLOSED
    writer.close()
    return answer, after


@pytest.mark.parametrize("request_bytes,status,code,connection,seen", [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_requests(play, request_bytes, status, code, connection, seen):
    play.sfu.requests.clear()

    async def run():
        answer, after = await talk(play, request_bytes, status if isinstance(status, tuple) else (status,))
        await play.fence()
        return answer, after
    answer, after = asyncio.run(run())
    assert answer is None or answer.code() == code, answer
    assert after == connection
    assert len(play.seen()) == seen
    assert not play.sfu.faults


CROSSINGS = [
    # what the client says, what the SFU is told under these names: a list of values, or None for "no such header"
    ("ours, whatever the client calls so", [b"X-Usher-Room: forged", b"X-Usher-Epoch: 1", b"X-Usher-Grant: forged"],
     {"x-usher-room": ["r"], "x-usher-grant": None}),
    ("where it came from is what we see", [b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: evil.example"],
     {"x-forwarded-for": ["127.0.0.1"], "x-forwarded-proto": ["http"], "x-forwarded-host": ["localhost"]}),
    ("nor what it calls otherwise", [b"Forwarded: for=1.2.3.4", b"X-Real-IP: 1.2.3.4", b"Via: x", b"X-Forwarded-Port: 1", b"X_Forwarded_For: 1"],
     {"forwarded": None, "x-real-ip": None, "via": None, "x-forwarded-port": None, "x_forwarded_for": None}),
    ("cookies stay", [b"Cookie: a=b", b"Cookie2: c=d"], {"cookie": None, "cookie2": None}),
    ("headers of this hop", [b"Connection: keep-alive", b"Keep-Alive: timeout=1", b"TE: trailers", b"Proxy-Authorization: x",
                             b"Proxy-Connection: close", b"Trailer: X", b"Upgrade: h2c", b"HTTP2-Settings: AAAA"],
     {"connection": None, "keep-alive": None, "te": None, "proxy-authorization": None, "proxy-connection": None, "trailer": None,
      "upgrade": None, "http2-settings": None}),
    ("what Connection names is of this hop", [b"Connection: close, Authorization", b"Authorization: secret", b"Accept: a"],
     {"authorization": None, "accept": ["a"]}),
    ("but it cannot take ours away", [b"Connection: close, X-Forwarded-For, X-Usher-Room, X-Request-Id, Host"],
     {"x-forwarded-for": ["127.0.0.1"], "x-usher-room": ["r"]}),
    ("nobody has thought of it", [b"X-Anything: x", b"Expect: 100-continue"], {"x-anything": None, "expect": None}),
    ("a folded line is another header", [b"Authorization: secret", b" more"], {"authorization": None, "authorizationmore": None}),
    ("a request id that is none is made anew", [b"X-Request-Id: a b\tc"], {"x-request-id": 1}),
    ("two request ids: the first", [b"X-Request-Id: first", b"X-Request-Id: second"], {"x-request-id": ["first"]}),
    ("lines of a list cross as lines", [b"Accept: a", b"Accept: b"], {"accept": ["a", "b"]}),
    ("blanks around a value do not", [b"Accept:  \t a \t "], {"accept": ["a"]}),
]


@pytest.mark.parametrize("fields,told", [row[1:] for row in CROSSINGS], ids=[row[0] for row in CROSSINGS])
@pytest.mark.parametrize("upgrade", [False, True], ids=["http", "websocket"])
def test_headers_that_cross(play, upgrade, fields, told):
    play.sfu.requests.clear()

    async def run():
        answer, _ = await talk(play, websocket(*fields) if upgrade else get(*fields), (200,))
        await play.fence()
    asyncio.run(run())
    seen, = play.seen()
    for name, values in told.items():
        found = seen.all(name)
        if upgrade and name in ("connection", "upgrade"):
            assert [value.lower() for value in found] == ["upgrade" if name == "connection" else "websocket"]
        else:
            assert len(found) == 1 if values == 1 else found == (values or []), (name, found)
    assert not play.sfu.faults


FORWARDED = [
    ("one", [b"X-Forwarded-For: 1.2.3.4"], "x-forwarded-for", "1.2.3.4, 127.0.0.1"),
    ("a list", [b"X-Forwarded-For: 1.2.3.4, 5.6.7.8"], "x-forwarded-for", "1.2.3.4, 5.6.7.8, 127.0.0.1"),
    ("a line that the proxy appended to the client's own", [b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-For: 1.2.3.4"], "x-forwarded-for",
     "6.6.6.6, 1.2.3.4, 127.0.0.1"),
    ("none", [], "x-forwarded-for", "127.0.0.1"),
    ("empty", [b"X-Forwarded-For:"], "x-forwarded-for", "127.0.0.1"),
    ("https", [b"X-Forwarded-Proto: HTTPS"], "x-forwarded-proto", "https"),
    ("the proxy's line is the last", [b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: http"], "x-forwarded-proto", "http"),
    ("no scheme", [b"X-Forwarded-Proto: javascript"], "x-forwarded-proto", "http"),
    ("a host", [b"X-Forwarded-Host: rooms.example:443"], "x-forwarded-host", "rooms.example:443"),
    ("no host", [b"X-Forwarded-Host: rooms.example/evil"], "x-forwarded-host", "localhost"),
    ("a list of hosts", [b"X-Forwarded-Host: a.example, b.example"], "x-forwarded-host", "localhost"),
]


def test_a_trusted_proxy_says_who_asked(play, shared_stage):
    router = shared_stage.router("server.workers=1", "server.trusted_proxies=10.0.0.0/8,127.0.0.1/32")
    shared_stage.node("n1", router, signal_url=play.sfu.url, control=False)
    router.wait_placeable("n1")
    assert router.join("r").status == 200
    trusted = Play(router, play.sfu)
    for what, fields, name, value in FORWARDED:
        play.sfu.requests.clear()
        asyncio.run(talk(trusted, get(*fields), (200,)))
        assert play.sfu.requests[0].all(name) == [value], what


# -- time: all of them at once, so that they take no longer than the slowest ------------------------------------------------------
HALF_HEAD = b"GET " + PATH + b" HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
COLLECTED = line(b"POST /v1/rooms/r/join HTTP/1.1", b"Content-Type: application/json", b"Content-Length: 1000")
SLOW = [
    # what is sent first, what then drips (None: silence), how often a second
    ("nothing at all", b"", None),
    ("half a head, then silence", HALF_HEAD, None),
    ("a byte of a head a second", HALF_HEAD, b"x"),
    ("a line of a head a second", HALF_HEAD[:-8], b"X-Slow: x\r\n"),
    ("empty lines before a head", b"\r\n", b"\r\n"),
    ("a byte of a second head a second", line(b"GET /livez HTTP/1.1") + HALF_HEAD, b"x"),
    ("half a body that is collected, then silence", COLLECTED + b"{", None),
    ("a byte of a body that is collected a second", COLLECTED + b"{", b" "),
    ("a byte of a body that is streamed a second", post(b"Content-Length: 1000"), b"x"),
    ("a chunk of a byte a second", chunked(b""), b"1\r\nx\r\n"),
    ("an extension of a chunk a second", chunked(b"1;"), b"x"),
    ("a trailer a second", chunked(HELLO + b"0\r\n"), b"X-Slow: x\r\n"),
    ("a body that was refused", post(b"Content-Length: 1000", b"X : y"), b"x"),
]
LIMIT_S, SLACK_S = 10, 1.5


async def drip(play, first, drop):
    """How long the connection lived."""
    reader, writer = await play.connect()
    begun = time.monotonic()
    writer.write(first)

    async def drops():
        while drop:
            await asyncio.sleep(1)
            writer.write(drop)
    task = asyncio.create_task(drops())
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 2 * LIMIT_S)
    task.cancel()
    writer.close()
    return time.monotonic() - begun


def test_slow_clients_are_cut(play):
    play.sfu.requests.clear()

    async def run():
        lived = await asyncio.gather(*(drip(play, first, drop) for _, first, drop in SLOW))
        await play.fence()
        return lived
    lived = dict(zip((row[0] for row in SLOW), asyncio.run(run())))
    assert {what: s for what, s in lived.items() if s > LIMIT_S + SLACK_S} == {}
    assert play.seen() == []


def test_the_table_has_no_padding():
    assert len(TABLE) >= 150 and len({row[1] for row in TABLE}) == len(TABLE) == len({row[0] for row in TABLE})
