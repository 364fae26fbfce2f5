"""The examples in docs/manifest.md run, and it names every column and key."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from manifest_rows import HEADER
from noisyfer.core.schema import KINDS, sample_columns
from noisyfer.manifest import Header, Manifest

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

DOCUMENT = Path(__file__).parent.parent / "docs" / "manifest.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}(?: no-test)?\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def test_the_examples_in_the_document_run_in_order_and_make_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = 0
    for block in blocks("python"):
        if "import duckdb" in block and importlib.util.find_spec("duckdb") is None:
            continue
        exec(compile(block, str(DOCUMENT), "exec"), {})  # noqa: S102
        ran += 1
    assert ran >= 6
    printed = capsys.readouterr().out
    assert "['neutral', 'happy', 'sad']" in printed
    assert "[2]" in printed
    [shown] = (json.loads(block) for block in blocks("json"))
    made = json.loads(Manifest.open("faces.parquet").header.to_json())
    assert {**made, "parents": []} == {**shown, "created_by": made["created_by"]}
    assert Header.from_json(json.dumps(shown)) == replace(
        Manifest.open("faces.parquet").header, parents=(), created_by=shown["created_by"]
    )
    assert Manifest.open("train.parquet").rows == 2


def test_the_document_names_every_column_and_every_key() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in sample_columns(faces=True):
        assert f"`{name}`" in text
    for key in json.loads(HEADER.to_json()):
        assert f"`{key}" in text
    for kind in KINDS:
        assert f"`{kind}`" in text
