"""The review: its file survives a kill, its server answers nobody else, its decisions become a label set."""

from __future__ import annotations

import csv
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from inspect_builders import CLASSES, labelled
from noisyfer.benchmark.reviewing.apply import apply_decisions
from noisyfer.benchmark.reviewing.decisions import DecisionFile, made_now, read_decisions
from noisyfer.benchmark.reviewing.server import ReviewServer
from noisyfer.benchmark.reviewing.session import make_queue
from noisyfer.cli import main
from noisyfer.core.errors import UserError
from noisyfer.manifest import Manifest
from review_server import served_review

HOSTILE = '<script>alert(1)</script>,"quoted"'


def noisyfer(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["review", *map(str, arguments)])


@pytest.fixture
def crowd(path: Path) -> Manifest:
    """Six samples; `a` is spoken against on s1 and s4, and on s4 by both others more surely than on s1."""
    sets = {"a": [0, 1, 2, 0, 1, 2], "b": [0, 2, 2, 0, 2, 2], "c": [0, None, 2, 0, 2, None]}
    ids = ["s0", "s1", HOSTILE, "s3", "s4", "s5"]
    return labelled(path, sets, ids=ids, images=[*(f"digits#{row}" for row in range(5)), "gone.png"])


@pytest.fixture
def server(crowd: Manifest, tmp_path: Path) -> Iterator[ReviewServer]:
    with served_review(crowd, tmp_path / "d.csv") as started:
        yield started


def ask(
    server: ReviewServer, place: str, body: Any = None, *, token: str | None = None, **headers: str
) -> tuple[int, bytes]:
    """A request as the page makes it, or with other headers (`Host_` for none)."""
    host = server.hosts[0]
    connection = http.client.HTTPConnection(host, timeout=10)
    method, sent = "GET" if body is None else "POST", None if body is None else json.dumps(body)
    given = {"Host": host, "Origin": f"http://{host}", **headers}
    try:
        connection.request(method, f"/{server.token if token is None else token}/{place}", sent, given)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def decide(server: ReviewServer, decision: str, given: int | None = None) -> dict[str, Any]:
    row = json.loads(ask(server, "state")[1])["item"]["row"]
    status, body = ask(server, "decide", {"row": row, "decision": decision, "class": given})
    assert status == 200, body
    found: dict[str, Any] = json.loads(body)
    return found


def lines(path: Path) -> list[list[str]]:
    return [row[:5] for row in csv.reader(path.read_text(encoding="utf-8").splitlines())][1:]


def test_the_most_suspicious_label_comes_first(crowd: Manifest) -> None:
    queue = make_queue(crowd, "class_a")
    assert sorted(queue.rows[:2].tolist()) == [1, 4]
    assert sorted(queue.rows.tolist()) == list(range(6))
    assert make_queue(crowd, None).name == "class_a"


def test_decisions_are_lines_and_undo_is_a_further_one(server: ReviewServer, tmp_path: Path) -> None:
    file = tmp_path / "d.csv"
    first = json.loads(ask(server, "state")[1])
    assert (first["done"], first["total"], first["left"], first["undo"]) == (0, 6, 6, False)
    assert first["item"]["opinions"][0] == ["class_a", 1]
    name = first["item"]["id"]
    after = decide(server, "change", 2)
    assert (after["done"], after["left"], after["undo"]) == (1, 5, True)
    assert lines(file) == [[name, "class_a", "dog", "change", "frog"]]
    back = json.loads(ask(server, "undo", {})[1])
    assert back["item"]["id"] == name
    assert (back["done"], back["undo"]) == (0, False)
    assert lines(file)[1] == [name, "class_a", "dog", "undo", ""]
    assert ask(server, "undo", {})[0] == 400
    decide(server, "change", 1)  # to what it is: accepted
    assert lines(file)[2] == [name, "class_a", "dog", "accept", "dog"]
    decide(server, "skip")
    assert lines(file)[3][3:] == ["skip", ""]
    assert json.loads(ask(server, "state")[1])["done"] == 1


def test_the_next_session_goes_on_and_skipped_labels_come_again_at_the_end(crowd: Manifest, tmp_path: Path) -> None:
    file = tmp_path / "d.csv"
    with served_review(crowd, file) as server:
        skipped = json.loads(ask(server, "state")[1])["item"]["id"]
        decide(server, "skip")
        decide(server, "accept")
    with served_review(crowd, file) as server:
        state = json.loads(ask(server, "state")[1])
        assert (state["done"], state["left"], state["undo"]) == (1, 5, True)
        assert state["item"]["id"] != skipped
        for _ in range(4):
            state = decide(server, "accept")
        assert state["item"]["id"] == skipped
        assert decide(server, "accept")["item"] is None
    with served_review(crowd, file) as server:
        state = json.loads(ask(server, "undo", {})[1])
        assert (state["item"]["id"], state["done"]) == (skipped, 5)


def test_a_decision_on_another_label_is_refused(server: ReviewServer, tmp_path: Path) -> None:
    row = json.loads(ask(server, "state")[1])["item"]["row"]
    assert ask(server, "decide", {"row": row, "decision": "accept"})[0] == 200
    assert ask(server, "decide", {"row": row, "decision": "accept"})[0] == 409
    assert len(lines(tmp_path / "d.csv")) == 1


@pytest.mark.parametrize(
    "body",
    [
        *([1], "accept", {}, {"row": "1", "decision": "accept"}, {"row": True, "decision": "accept"}),
        *({"row": 1, "decision": "change"}, {"row": 1, "decision": "change", "class": 3}),
        *({"row": 1, "decision": "undo"}, {"row": 1, "decision": "change", "class": -1}),
    ],
)
def test_a_wrong_decision_is_refused(body: Any, server: ReviewServer, tmp_path: Path) -> None:
    row = json.loads(ask(server, "state")[1])["item"]["row"]
    if isinstance(body, dict) and body.get("row") == 1 and body["row"] is not True:
        body = {**body, "row": row}
    assert ask(server, "decide", body)[0] == 400
    assert lines(tmp_path / "d.csv") == []


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "..", "%2e%2e", "\xe9"])
def test_without_the_token_there_is_nothing(token: str, server: ReviewServer, tmp_path: Path) -> None:
    for place in ("", "state", "picture/0"):
        status, body = ask(server, place, token=token) if token != "\xe9" else raw_get(server, f"/\xe9/{place}")
        assert status == 403
        assert server.token.encode() not in body
    if token != "\xe9":
        assert ask(server, "undo", {}, token=token)[0] == 403
    assert lines(tmp_path / "d.csv") == []


def raw_get(server: ReviewServer, path: str) -> tuple[int, bytes]:
    return raw(server, f"GET {path} HTTP/1.1\r\nHost: {server.hosts[0]}\r\n\r\n".encode("latin-1"))


def raw(server: ReviewServer, request: bytes) -> tuple[int, bytes]:
    with socket.create_connection(server.server_address[:2], timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return int(answer.split(b" ")[1]), answer


@pytest.mark.parametrize(
    "headers",
    [
        *({"Host": "evil.example"}, {"Host": "evil.example:80"}, {"Origin": "http://evil.example"}),
        *({"Origin": "null"}, {"Host": "127.0.0.1"}, {"Origin": "https://127.0.0.1:1"}),
    ],
)
def test_foreign_pages_are_refused(headers: dict[str, str], server: ReviewServer, tmp_path: Path) -> None:
    assert ask(server, "state", **headers)[0] == 403
    assert ask(server, "undo", {}, **headers)[0] == 403
    row = {"row": 1, "decision": "accept"}
    assert ask(server, "decide", row, **headers)[0] == 403
    assert lines(tmp_path / "d.csv") == []


def test_two_hosts_none_and_a_post_without_origin_are_refused(server: ReviewServer) -> None:
    host, token = server.hosts[0], server.token
    assert raw(server, f"GET /{token}/state HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n".encode())[0] == 403
    assert raw(server, f"GET /{token}/state HTTP/1.1\r\n\r\n".encode())[0] == 403
    body = f"POST /{token}/undo HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{{}}"
    assert raw(server, body.encode())[0] == 403


@pytest.mark.parametrize(
    ("lines_", "status"),
    [
        ("Content-Length: 4097", 413),
        ("Content-Length: 999999999", 413),
        ("Content-Length: 99999999999999999999", 411),
        ("Content-Length: -1", 411),
        ("Content-Length: 2\r\nContent-Length: 2", 411),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2", 411),
        ("X: y", 411),
    ],
)
def test_bodies_of_no_known_or_too_great_length_are_refused(lines_: str, status: int, server: ReviewServer) -> None:
    host = server.hosts[0]
    head = f"POST /{server.token}/undo HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n{lines_}\r\n\r\n"
    assert raw(server, head.encode())[0] == status


@pytest.mark.parametrize(
    "place",
    [
        *("picture/../d.csv", "picture/%2e%2e%2fd.csv", "../d.csv", "d.csv", "picture//etc/passwd", "picture/-1"),
        *(
            "picture/0/..",
            "picture/9",
            "picture/99999999999999999999",
            "state/",
            "picture/٣".encode().decode("latin-1"),
        ),
    ],
)
def test_nothing_but_rows_leads_to_a_picture(place: str, server: ReviewServer) -> None:
    assert raw_get(server, f"/{server.token}/{place}")[0] == 404


def test_pictures_are_jpegs_and_a_missing_one_is_a_sentence(server: ReviewServer) -> None:
    status, body = ask(server, "picture/2")
    assert (status, body[:3]) == (200, b"\xff\xd8\xff")
    status, body = ask(server, "picture/5")
    assert (status, b"no such file" in body) == (404, True)


def test_the_page_has_its_policy_and_hostile_names_as_text(path: Path, tmp_path: Path) -> None:
    names = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "plain")
    manifest = labelled(path, {"a": [0, 1], "b": [0, 2]}, classes=names)
    with served_review(manifest, tmp_path / "d.csv") as server:
        connection = http.client.HTTPConnection(server.hosts[0], timeout=10)
        connection.request("GET", f"/{server.token}/")
        answer = connection.getresponse()
        html, policy = answer.read().decode(), answer.getheader("Content-Security-Policy") or ""
        connection.close()
    assert "alert(1)</script>" not in html
    assert "<img src=x" not in html
    assert html.count("<script") == 2
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.getheader("Cache-Control") == "no-store"


def test_it_listens_on_this_machine_alone(server: ReviewServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{43}/", server.url)


def test_a_taken_port_is_a_sentence(server: ReviewServer) -> None:
    with pytest.raises(UserError, match="Cannot serve on"):
        ReviewServer(server.session, server.server_address[1])
    with pytest.raises(UserError, match="Cannot serve on"):
        ReviewServer(server.session, 70000)


def test_a_second_writer_is_refused(server: ReviewServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Another review is writing"):
        DecisionFile(tmp_path / "d.csv")


def test_decisions_survive_a_kill(crowd: Manifest, tmp_path: Path) -> None:
    """A child is killed as soon as it has answered; what it answered is in the file, and the next session goes on."""
    file = tmp_path / "d.csv"
    command = [sys.executable, "-m", "noisyfer.cli", "review", str(crowd.path), "--decisions", str(file)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert child.stdout is not None
        found = re.search(r"http://(127\.0\.0\.1:\d+)/([\w-]+)/", child.stdout.readline())
        assert found is not None
        host, token = found.groups()
        headers = {"Origin": f"http://{host}"}
        for _ in range(3):
            connection = http.client.HTTPConnection(host, timeout=20)
            connection.request("GET", f"/{token}/state")
            row = json.loads(connection.getresponse().read())["item"]["row"]
            connection = http.client.HTTPConnection(host, timeout=20)
            body = json.dumps({"row": row, "decision": "change", "class": 0})
            connection.request("POST", f"/{token}/decide", body, headers)
            assert connection.getresponse().status == 200
        child.send_signal(signal.SIGKILL)
        child.wait()
    finally:
        child.kill()
        child.wait()
    decisions, torn = read_decisions(file)
    assert (len(decisions), torn) == (3, False)
    with served_review(crowd, file) as server:
        assert json.loads(ask(server, "state")[1])["done"] == 3


def write(path: Path, *rows: tuple[str, str, str], name: str = "class_a") -> Path:
    with DecisionFile(path) as file:
        for sample, decision, given in rows:
            file.append(made_now(sample, name, "dog", decision, given))
    return path


def test_decisions_become_a_label_set(crowd: Manifest, tmp_path: Path) -> None:
    rows = [("s1", "change", "frog"), ("s4", "accept", "dog"), (HOSTILE, "skip", ""), ("s5", "change", "cat")]
    file = write(tmp_path / "d.csv", *rows, ("s5", "undo", ""))
    made = apply_decisions(crowd, file, tmp_path / "out.parquet")
    assert made.counts == {"accepted": 1, "changed": 1, "skipped": 1, "unreviewed": 3}
    found = made.manifest.header.label_sets["class_reviewed"]
    assert (found.kind, found.provenance["parents"]) == ("human", ["class_a"])
    assert found.provenance["decisions"] == made.counts
    assert made.manifest.labels("class_reviewed").values.tolist() == [0, 2, 2, 0, 1, 2]
    made.manifest.validate()
    kept = apply_decisions(crowd, file, tmp_path / "kept.parquet", only_decided=True, annotator="me")
    assert kept.manifest.labels("class_me").present.tolist() == [False, True, False, False, True, False]
    with pytest.raises(UserError, match="already"):
        apply_decisions(made.manifest, file, tmp_path / "again.parquet")


def test_a_machines_labels_with_corrections_are_an_aggregate(path: Path, tmp_path: Path) -> None:
    manifest = labelled(path, {"net": [0, 1]}, kinds={"net": "model"})
    file = write(tmp_path / "d.csv", ("s0", "change", "frog"), name="class_net")
    made = apply_decisions(manifest, file, tmp_path / "out.parquet")
    assert made.manifest.header.label_sets["class_reviewed"].kind == "aggregate"
    assert "1 decisions were made when class_net had other labels" in made.notes[0]
    only = apply_decisions(manifest, file, tmp_path / "only.parquet", only_decided=True)
    assert only.manifest.header.label_sets["class_reviewed"].kind == "human"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "has no decision yet"),
        ([("nobody", "accept", "dog")], "is about a sample of"),
        ([("s0", "change", "cow")], f"there are {', '.join(CLASSES)}"),
    ],
)
def test_decisions_that_do_not_fit_are_a_sentence(
    rows: list[tuple[str, str, str]], said: str, crowd: Manifest, tmp_path: Path
) -> None:
    file = write(tmp_path / "d.csv", *rows)
    with pytest.raises(UserError, match=said):
        apply_decisions(crowd, file, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_the_command_applies_and_refuses(crowd: Manifest, tmp_path: Path) -> None:
    file, out = write(tmp_path / "d.csv", ("s1", "change", "frog"), ("gone", "skip", "")), tmp_path / "out.parquet"
    with file.open("a") as stream:
        stream.write("s3,class")
    done = noisyfer(crowd.path, "--apply", file, "--out", out)
    assert done.exit_code == 0, done.output
    assert "class_reviewed, 0 accepted, 1 changed, 0 skipped, 5 unreviewed" in done.output
    assert "was not finished by its writer" in done.output
    assert "1 of 2 decisions are about samples" in done.output
    for arguments in (
        [],
        ["--apply", file, "--decisions", file],
        ["--apply", file],
        ["--decisions", file, "--limit", "0"],
    ):
        refused = noisyfer(crowd.path, *arguments)
        assert refused.exit_code == 1
        assert refused.stderr.startswith("Error: ")
    other = write(tmp_path / "two.csv", ("s1", "accept", "dog"))
    write(other, ("s1", "accept", "dog"), name="class_b")
    assert "Say which set to correct by --set" in noisyfer(crowd.path, "--apply", other, "--out", out).stderr


@pytest.mark.parametrize(
    ("mode", "arguments", "said"),
    [
        ("--decisions", ["--out", "o.parquet"], "With --decisions leave out --out, which only --apply reads."),
        ("--decisions", ["--only-decided", "--as", "reviewed"], "leave out --as and --only-decided,"),
        ("--apply", ["--port", "0"], "With --apply leave out --port, which only --decisions reads."),
        ("--apply", ["--limit", "5", "--probs", "runs", "--data", "."], "leave out --limit and --probs and --data,"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    mode: str, arguments: list[str], said: str, crowd: Manifest, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = write(here / "d.csv", ("s1", "change", "frog")), ["--out", here / "new.parquet"]
    before = file.read_bytes()
    refused = noisyfer(crowd.path, mode, file, *arguments, *(out if mode == "--apply" else []))
    assert (refused.exit_code, file.read_bytes()) == (2, before)
    assert said in refused.stderr
    monkeypatch.setenv("NOISYFER_REVIEW_PORT", "8000")  # which is said of any review
    assert noisyfer(crowd.path, "--apply", file, *out).exit_code == 0
