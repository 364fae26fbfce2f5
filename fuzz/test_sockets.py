"""The server of a review, spoken to by raw sockets: who has not the token gets nothing, and nothing hangs or grows."""

from __future__ import annotations

import hmac
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from inspect_builders import labelled
from noisyfer.benchmark.reviewing import server as serving
from noisyfer.benchmark.reviewing.server import MOST_BODY, ReviewServer
from review_server import served_review

SECRET = b"the secret beside the manifest"


@contextmanager
def served(tmp_path: Path) -> Iterator[ReviewServer]:
    (tmp_path / "secret.png").write_bytes(SECRET)
    images = [*(f"digits#{row}" for row in range(4)), "gone.png"]
    manifest = labelled(tmp_path / "m.parquet", {"a": [0, 1, 2, 0, 1], "b": [0, 2, 2, 0, 2]}, images=images)
    with served_review(manifest, tmp_path / "d.csv") as server:
        yield server


def said(server: ReviewServer, request: bytes, wait: float = 20, *, ends: bool = True) -> bytes:
    """All that the server answers to some bytes."""
    with socket.create_connection(server.server_address, timeout=wait) as connection:
        parts = []
        try:
            connection.sendall(request)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                parts.append(part)
        except (ConnectionError, TimeoutError) as error:
            parts.append(f"<{type(error).__name__}>".encode())
        return b"".join(parts)


def request(server: ReviewServer, place: str, method: str = "GET", *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {place} HTTP/1.1", f"Host: {server.hosts[0]}", *headers]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


def lines(tmp_path: Path) -> int:
    return len((tmp_path / "d.csv").read_text().splitlines())


PATHS = (
    "/../../etc/passwd",
    "/{token}/../secret.png",
    "/{token}/..%2fsecret.png",
    "/{token}/picture/../../secret.png",
    "/{token}/picture/secret.png",
    "/{token}/picture/-1",
    "/{token}/picture/0x1",
    "/{token}/picture/1e9",
    "/{token}/picture/999999999999",
    "/{token}/picture/0/",
    "/{token}/picture/\u0661",
    "/{token}//etc/passwd",
    "/{token}/%00",
    "/{token}/state?x=1",
    "/{token}/state#x",
    "/{token}",
    "/./{token}/state",
    "http://evil.example/{token}/state",
    "\\{token}\\state",
    "*",
    "",
)


def test_no_path_leads_to_a_file(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        for path in PATHS:
            for method in ("GET", "POST", "HEAD", "PUT", "OPTIONS", "TRACE", "CONNECT"):
                answer = said(server, request(server, path.format(token=server.token), method))
                assert status(answer) not in (200, 500), (path, method, answer[:200])
                assert SECRET not in answer
                assert b"root:" not in answer
        assert status(said(server, request(server, f"/{server.token}/state"))) == 200
    assert lines(tmp_path) == 1


def test_every_host_and_origin_but_its_own_is_refused(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        port, token = server.server_address[1], server.token
        hosts = ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.evil.example:{port}", f"127.1:{port}")
        hosts += (f"[::1]:{port}", "", f"localhost:{port}, evil", f"user@127.0.0.1:{port}", f"LOCALHOST.:{port}")
        for host in hosts:
            raw = f"GET /{token}/state HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            assert status(said(server, raw)) == 403, host
        body = b'{"row": 0, "decision": "accept"}'
        origins = ("null", "http://evil.example", f"https://127.0.0.1:{port}", f"http://127.0.0.1:{port}.evil", "", "*")
        for origin in origins:
            raw = request(
                server, f"/{token}/decide", "POST", f"Origin: {origin}", f"Content-Length: {len(body)}", body=body
            )
            assert status(said(server, raw)) == 403, origin
        raw = request(server, f"/{token}/decide", "POST", f"Content-Length: {len(body)}", body=body)
        assert status(said(server, raw)) == 403
    assert lines(tmp_path) == 1


def test_the_token_is_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every comparison goes through hmac's, of the whole token; no prefix gets another answer than no token."""
    compared: list[tuple[bytes, bytes]] = []

    class Spy:
        @staticmethod
        def compare_digest(first: bytes, second: bytes) -> bool:
            compared.append((first, second))
            return hmac.compare_digest(first, second)

    monkeypatch.setattr(serving, "hmac", Spy)
    with served(tmp_path) as server:
        token = server.token
        near = [token[:cut] for cut in range(0, len(token), 7)] + [token + "x", token[:-1] + "!", token.swapcase(), "é"]
        answers = {said(server, request(server, f"/{each}/state")).split(b"\r\n\r\n")[1] for each in near}
        assert len(answers) == 1
        assert len(compared) == len(near)
        assert {second for _, second in compared} == {token.encode()}


def test_no_body_is_larger_than_a_decision(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        place, origin = f"/{server.token}/decide", f"Origin: http://{server.hosts[0]}"
        for length in (MOST_BODY + 1, 10**9 - 1):
            start = time.monotonic()
            raw = request(server, place, "POST", origin, f"Content-Length: {length}", body=b"x" * 100)
            assert status(said(server, raw, ends=False)) == 413
            assert time.monotonic() - start < serving.SECONDS
        for wrong in ("-1", "+5", "1e3", "5, 5", "0x5", "99999999999999", " ", "٣"):
            assert status(said(server, request(server, place, "POST", origin, f"Content-Length: {wrong}"))) in (
                400,
                411,
            )
        chunked = request(
            server, place, "POST", origin, "Transfer-Encoding: chunked", "Content-Length: 5", body=b"5\r\n"
        )
        assert status(said(server, chunked)) == 411
        for body in (
            b"[" * 4000,
            b"{}" * 9,
            b"\xff" * 9,
            b'{"row": NaN}',
            b'{"row": 1e999}',
            b'{"row":' + b"9" * 4000 + b"}",
        ):
            raw = request(server, place, "POST", origin, f"Content-Length: {len(body)}", body=body)
            assert status(said(server, raw)) == 400, body[:20]
        assert 400 <= status(said(server, request(server, "/" + "x" * 70_000))) < 500
        many = request(server, place, "GET", *(f"X-{number}: {'y' * 100}" for number in range(5000)))
        assert status(said(server, many)) in (0, 431)
    assert lines(tmp_path) == 1


def test_a_silent_client_is_let_go_and_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving._Handler, "timeout", 1)
    with served(tmp_path) as server:
        silent = [socket.create_connection(server.server_address, timeout=30) for _ in range(30)]
        for number, connection in enumerate(silent):
            connection.sendall(request(server, f"/{server.token}/state")[: number * 3])
        assert status(said(server, request(server, f"/{server.token}/state"))) == 200
        for connection in silent:
            while connection.recv(65536):  # it is closed from the other side
                pass
            connection.close()


def test_noise_is_answered_or_closed(mutations: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(14)
    with served(tmp_path) as server:
        body = b'{"row": 77, "decision": "accept"}'
        sound = request(
            server,
            f"/{server.token}/decide",
            "POST",
            f"Origin: http://{server.hosts[0]}",
            f"Content-Length: {len(body)}",
            body=body,
        )
        for _ in range(mutations):
            data = bytearray(sound)
            for _ in range(int(rng.integers(1, 5))):
                place = int(rng.integers(len(data)))
                data[place : place + int(rng.integers(0, 3))] = rng.bytes(int(rng.integers(0, 4)))
            answer = said(server, bytes(data))
            assert status(answer) not in (200, 500, 501) or b"Unsupported method" in answer, bytes(data)
        assert status(said(server, request(server, f"/{server.token}/state"))) == 200
    assert "Traceback" not in capfd.readouterr().err
    assert lines(tmp_path) == 1
