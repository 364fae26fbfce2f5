"""Manifests and tables of others: a sentence or data, in bounded time and memory; no exported cell is a formula."""

from __future__ import annotations

import csv
from pathlib import Path

from confined import Case, check, confined
from hostile_manifests import HOSTILE_TEXTS, IMPORTS, KINDS
from hypothesis import given, settings
from hypothesis import strategies as st
from import_files import HUMAN, faces
from noisyfer.benchmark.reviewing.decisions import DecisionFile, made_now, read_decisions
from noisyfer.core.schema import Dataset, Header, Task
from noisyfer.relabel.exporting import export_labels

SECONDS = 60
MEBIBYTES = 3072
STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""First characters of a formula, the full-width ones included (OWASP, CSV injection)."""


def test_spoilt_manifests_give_a_sentence_or_their_rows(mutations: int, tmp_path: Path) -> None:
    cases: list[Case] = [
        [kind, seed] for kind in KINDS for seed in range(mutations if kind != "large" else mutations // 5)
    ]
    endings = confined("hostile_manifests:judge", cases, tmp_path / "inside", seconds=SECONDS, mebibytes=MEBIBYTES)
    check(endings, "manifests", len(cases))


def test_spoilt_tables_give_a_sentence_or_labels(mutations: int, tmp_path: Path) -> None:
    cases: list[Case] = [[name, seed] for name in IMPORTS for seed in range(mutations)]
    endings = confined(
        "hostile_manifests:import_judge", cases, tmp_path / "inside", seconds=SECONDS, mebibytes=MEBIBYTES
    )
    check(endings, "tables of labels", len(cases))


def cells(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [cell for row in csv.reader(stream) for cell in row]


PLAIN = [text for text in HOSTILE_TEXTS if text and "\0" not in text and len(text) < 2000]


def test_no_exported_cell_is_a_formula(tmp_path: Path) -> None:
    header = Header(
        Dataset("raf"), {"expression": Task("expression", "categorical", tuple(PLAIN))}, {HUMAN.name: HUMAN}
    )
    manifest = faces(tmp_path / "m.parquet", PLAIN, images=[f"{text}.jpg" for text in PLAIN], header=header)
    assert export_labels(manifest, tmp_path / "out.csv") == len(PLAIN)
    assert not [cell for cell in cells(tmp_path / "out.csv") if cell.startswith(STARTS)]
    assert export_labels(manifest, tmp_path / "metadata.csv", format="imagefolder") == len(PLAIN)
    assert not [cell for cell in cells(tmp_path / "metadata.csv") if cell.startswith(STARTS)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5, unique=True))
def test_no_decision_is_a_formula_and_each_is_read_as_it_was(tmp_path_factory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("decisions") / "d.csv"
    wanted = [
        text for text in texts if text.encode("utf-8", "ignore").decode() == text and not set(text) & set("\r\n\0")
    ]
    with DecisionFile(path) as file:
        for text in wanted:
            file.append(made_now(text, "class_a", text, "change", text))
    found, _ = read_decisions(path)
    assert [(each.id, each.before, each.given) for each in found] == [(text, text, text) for text in wanted]
    assert not [cell for cell in cells(path) if cell.startswith(STARTS)]
