"""What `noisyfer show` counts, against a slow literal loop over the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noisyfer import manifest as manifests
from noisyfer.benchmark.present import print_manifest
from noisyfer.benchmark.summary import summarise
from noisyfer.core.errors import UserError
from noisyfer.manifest import Dataset, Header, LabelSet, Manifest, Task, write_manifest

CLASSES = ("cat", "dog", "frog")
GRID = (-1.0, -0.75, -0.25, 0.0, 0.5, 1.0)
Row = tuple[Any, ...]

SETS = (
    LabelSet.categorical("class", "clean", "human", {}),
    LabelSet.categorical("class", "flip20", "synthetic", {"noise": "uniform", "rate": 0.2}),
    LabelSet.valence_arousal("clean", "human", {}),
    LabelSet.valence_arousal("net", "model", {}),
    LabelSet.categorical("other", "net", "model", {}, probs=True),
)
HEADER = Header(
    Dataset("animals"),
    {
        "class": Task("class", "categorical", CLASSES),
        "va": Task("va", "continuous"),
        "other": Task("other", "categorical", ("a", "b")),
    },
    {found.name: found for found in SETS},
)

LABEL = st.none() | st.integers(0, 2)
FEELING = st.none() | st.sampled_from(GRID)
ROW = st.tuples(
    st.sampled_from(["train", "val", "test"]),
    st.sampled_from(["ok", "no_face", "unreadable"]),
    LABEL,
    LABEL,
    FEELING,
    FEELING,
    FEELING,
    FEELING,
    st.none() | st.integers(0, 1),
)
SPLIT, STATUS, CLEAN, FLIP, VALENCE, AROUSAL, NET_VALENCE, NET_AROUSAL, OTHER = range(9)


def write(path: Path, rows: Sequence[Row]) -> Manifest:
    def column(index: int, kind: pa.DataType) -> pa.Array:
        return pa.array([row[index] for row in rows], kind)

    names = [f"{number}" for number in range(len(rows))]
    table = pa.table(
        {
            "id": pa.array(names, pa.string()),
            "split": column(SPLIT, pa.string()),
            "image": pa.array(names, pa.string()),
            "status": column(STATUS, pa.string()),
            "detail": pa.nulls(len(rows), pa.string()),
            "class_clean": column(CLEAN, pa.int16()),
            "class_flip20": column(FLIP, pa.int16()),
            "valence_clean": column(VALENCE, pa.float32()),
            "arousal_clean": column(AROUSAL, pa.float32()),
            "valence_net": column(NET_VALENCE, pa.float32()),
            "arousal_net": column(NET_AROUSAL, pa.float32()),
            "other_net": column(OTHER, pa.int16()),
            "other_net_probs": pa.nulls(len(rows), pa.list_(pa.float32())),
        }
    )
    return write_manifest(path, HEADER, [table])


def concordance(pairs: Sequence[tuple[float, float]]) -> float:
    """Lin's concordance correlation coefficient (1989), as it is written; 0 where it is 0/0."""
    n = len(pairs)
    mean_a = sum(a for a, _ in pairs) / n
    mean_b = sum(b for _, b in pairs) / n
    variance_a = sum((a - mean_a) ** 2 for a, _ in pairs) / n
    variance_b = sum((b - mean_b) ** 2 for _, b in pairs) / n
    covariance = sum((a - mean_a) * (b - mean_b) for a, b in pairs) / n
    below = variance_a + variance_b + (mean_a - mean_b) ** 2
    return 2 * covariance / below if below > 0 else 0.0


def check_against_the_rows(manifest: Manifest, rows: Sequence[Row]) -> None:
    summary = summarise(manifest)
    samples: dict[str, dict[str, int]] = {}
    for row in rows:
        samples.setdefault(row[SPLIT], {}).setdefault(row[STATUS], 0)
        samples[row[SPLIT]][row[STATUS]] += 1
    assert summary.samples == samples

    columns = {
        "class_clean": (CLEAN,),
        "class_flip20": (FLIP,),
        "va_clean": (VALENCE, AROUSAL),
        "va_net": (NET_VALENCE, NET_AROUSAL),
        "other_net": (OTHER,),
    }
    for name, found in summary.sets.items():
        whole = [row for row in rows if all(row[index] is not None for index in columns[name])]
        for split in samples:
            here = sum(row[SPLIT] == split for row in whole)
            assert found.labelled[split] == here
            assert found.missing[split] == sum(row[SPLIT] == split for row in rows) - here
        if name.startswith("va"):
            assert found.counts == {}
            if whole:
                means = [sum(row[index] for row in whole) / len(whole) for index in columns[name]]
                assert found.mean == pytest.approx(means, abs=1e-6)
            else:
                assert found.mean is None
        else:
            classes = manifest.header.tasks[manifest.header.label_sets[name].task].classes
            ids = [row[columns[name][0]] for row in whole]
            assert found.counts == {label: ids.count(number) for number, label in enumerate(classes)}
            assert found.mean is None

    assert set(summary.agreement) == {("class_clean", "class_flip20"), ("va_clean", "va_net")}
    both = [row for row in rows if row[CLEAN] is not None and row[FLIP] is not None]
    share, count = summary.agreement["class_clean", "class_flip20"]
    assert count == len(both)
    assert share == pytest.approx(
        sum(row[CLEAN] == row[FLIP] for row in both) / len(both) if both else math.nan, nan_ok=True
    )
    both = [row for row in rows if all(row[index] is not None for index in range(VALENCE, NET_AROUSAL + 1))]
    ccc, count = summary.agreement["va_clean", "va_net"]
    assert count == len(both)
    if both:
        valence = concordance([(row[VALENCE], row[NET_VALENCE]) for row in both])
        arousal = concordance([(row[AROUSAL], row[NET_AROUSAL]) for row in both])
        assert ccc == pytest.approx((valence + arousal) / 2, abs=1e-9)
    else:
        assert math.isnan(ccc)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, max_size=14), batch_rows=st.integers(1, 5))
def test_counts_and_agreement_are_those_of_a_loop_over_the_rows(
    rows: list[Row], batch_rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "summary.parquet"
    batches = Manifest.batches
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Manifest, "batches", lambda self, columns=None: batches(self, columns, batch_rows))
        check_against_the_rows(write(path, rows), rows)


def test_a_large_manifest_is_counted_the_same_over_several_batches(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)

    def drawn(choices: Sequence[Any], count: int) -> list[Any]:
        return [choices[index] for index in stream.integers(0, len(choices), count)]

    count = manifests.BATCH_ROWS + 5000
    labels, feelings = (None, 0, 1, 2), (None, *np.linspace(-1, 1, 17).tolist())
    columns = [drawn(("train", "test"), count), drawn(("ok", "no_face"), count)]
    columns += [drawn(choices, count) for choices in (labels, labels, feelings, feelings, feelings, feelings)]
    rows = list(zip(*columns, drawn((None, 0, 1), count), strict=True))
    check_against_the_rows(write(tmp_path / "large.parquet", rows), rows)


def test_a_mean_over_many_rows_is_exact_to_six_digits(tmp_path: Path) -> None:
    row = ("train", "ok", None, None, 0.1, -0.7, None, None, None)
    mean = summarise(write(tmp_path / "m.parquet", [row] * manifests.BATCH_ROWS)).sets["va_clean"].mean
    assert mean == pytest.approx((0.1, -0.7), abs=1e-6)


def test_a_view_is_counted_alone(tmp_path: Path) -> None:
    rows = [("train", "ok", 0, 1, *[None] * 5), ("test", "ok", 1, 1, *[None] * 5), ("test", "ok", 2, 1, *[None] * 5)]
    summary = summarise(write(tmp_path / "m.parquet", rows).select(["test"], ["class_clean"]))
    assert summary.samples == {"test": {"ok": 2}}
    assert list(summary.sets) == ["class_clean"]
    assert summary.sets["class_clean"].counts == {"cat": 0, "dog": 1, "frog": 1}
    assert summary.agreement == {}


def test_samples_without_a_split_are_a_sentence(tmp_path: Path) -> None:
    manifest = write(tmp_path / "m.parquet", [("train", "ok", *[None] * 7)] * 2)
    table = pq.read_table(manifest.path)
    for name in ("split", "status"):
        holes = pa.array([None, "train"]).dictionary_encode()
        fields = [field.with_nullable(True) for field in table.schema]
        bad = table.cast(pa.schema(fields, table.schema.metadata))
        bad = bad.set_column(table.column_names.index(name), pa.field(name, holes.type), holes)
        pq.write_table(bad, tmp_path / "bad.parquet")
        with pytest.raises(UserError, match=f"column '{name}' has missing values"):
            summarise(Manifest.open(tmp_path / "bad.parquet"))


def test_show_prints_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        ("train", "ok", 0, 0, 0.5, 0.5, 0.5, 0.25, 1),
        ("train", "ok", 1, 2, -0.5, 0.0, -0.5, 0.5, None),
        ("test", "no_face", None, 2, None, None, 1.0, 1.0, 0),
    ]
    print_manifest(write(tmp_path / "m.parquet", rows))
    printed = capsys.readouterr().out
    for expected in ("animals", "no_face 1", "train 2", "test 1", "frog", "0.5", "noise: uniform", "rate: 0.2", "CCC"):
        assert expected in printed
    ccc = (1 + concordance([(0.5, 0.25), (0.0, 0.5)])) / 2
    assert f"{ccc:.4g}" in printed


def test_show_prints_names_as_they_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Square brackets and colons mean something to the terminal library, and nothing in a name."""
    task = Task("class", "categorical", ("[bold]a", ":cat:"))
    label_set = LabelSet.categorical("class", "x", "model", {"note": "[/] :dog:"})
    header = Header(Dataset("d[red]", root="/x/:smile:"), {"class": task}, {label_set.name: label_set})
    table = pa.table(
        {"id": ["1"], "split": ["[/b]"], "image": ["1"], "status": ["[i]ok :cow:"], "detail": [None], "class_x": [0]}
    )
    print_manifest(write_manifest(tmp_path / "m.parquet", header, [table]))
    printed = capsys.readouterr().out
    for expected in ("[bold]a", "[/] :dog:", "d[red]", "[/b]", "[i]ok :cow: 1", ":cat:", "/x/:smile:"):
        assert expected in printed
