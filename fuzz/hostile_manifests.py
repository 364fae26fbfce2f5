"""Manifests whose metadata, columns, values or bytes were spoilt, and tables of labels that were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from confined import Case, Judge, told

HOSTILE_TEXTS = (
    "",
    "=1+1",
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "+1",
    "-1",
    "\t=1",
    "\r=1",
    "'=1",
    "<script>window.hacked=1</script>",
    '"><img src=x onerror="window.hacked=1">',
    "</script><script>window.hacked=1</script>",
    "javascript:window.hacked=1",
    "{{ 7*7 }}",
    "${7*7}",
    "../../outside",
    "/etc/passwd",
    "a\0b",
    "a\nb",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
    "x" * 100_000,
    "é" * 1000,
    "CON",
    "..\\..\\outside",
    "a/../b",
    "digits#99999999999999",
    "#1",
    "%s%n",
)
VALUES: tuple[Any, ...] = (
    *HOSTILE_TEXTS,
    None,
    True,
    False,
    0,
    -1,
    2**63,
    2**64,
    10**400,
    1e308,
    0.1,
    [],
    {},
    [[]] * 100,
    ["x"] * 40_000,
    {"": {}},
    {"a": "b"},
    list(range(100)),
)
KINDS = ("metadata", "metadata text", "columns", "values", "bytes", "large")


def judge(folder: Path) -> Judge:
    """Open a spoilt manifest and ask everything of it that a command would ask."""
    from noisyfer.core.errors import UserError
    from noisyfer.manifest import Manifest
    from noisyfer.relabel.convert import convert
    from noisyfer.relabel.exporting import export_labels

    def decide(case: Case) -> str:
        kind, seed = case
        path = folder / "m.parquet"
        rng = np.random.default_rng([seed, KINDS.index(kind)])
        if not spoil(path, kind, rng):
            return "unwritable"
        out = folder / "out"
        ending = "read"
        try:
            opened = Manifest.open(path)
            for action in (
                opened.read,
                opened.validate,
                lambda: [opened.labels(name) for name in opened.header.label_sets],
                lambda: opened.select(splits=["train"]).rows,
                opened.to_pandas,
                lambda: export_labels(opened, folder / "out.csv", overwrite=True),
                lambda: convert(opened, "imagefolder", out, root=folder),
            ):
                try:
                    action()
                except UserError as error:
                    told(error)
                    ending = "refused in part"
        except UserError as error:
            return f"refused: {told(error)}"
        return ending

    return decide


def spoil(path: Path, kind: str, rng: np.random.Generator) -> bool:
    """Write a spoilt manifest; False where Parquet cannot hold it."""
    from manifest_rows import HEADER, rows
    from noisyfer.core.schema import METADATA_KEY

    table, metadata = rows(20), HEADER.to_json().encode()
    if kind == "metadata":
        value = json.loads(metadata)
        for _ in range(int(rng.integers(1, 4))):
            value = replaced(value, rng)
        metadata = json.dumps(value).encode()
    elif kind == "metadata text":
        metadata = spoilt_bytes(metadata, rng)
    elif kind == "columns":
        table = other_columns(table, rng)
    elif kind == "values":
        table = other_values(table, rng)
    elif kind == "large":
        table, metadata = large(table, metadata, rng)
    try:
        pq.write_table(table.replace_schema_metadata({METADATA_KEY: metadata}), path, compression="zstd")
    except pa.ArrowNotImplementedError:
        return False
    if kind == "bytes":
        path.write_bytes(spoilt_bytes(path.read_bytes(), rng))
    return True


def spoilt_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, cut out or repeated."""
    spoilt = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 1, 4]))):
        place = int(rng.integers(len(spoilt) + 1))
        if rng.integers(4) == 0:  # towards the end, where Parquet has its footer
            place = max(0, len(spoilt) - 1 - int(rng.integers(2000)))
        choice = int(rng.integers(4))
        if choice == 0:
            del spoilt[place : place + int(rng.integers(1, 50))]
        elif choice == 1:
            spoilt[place:place] = rng.bytes(int(rng.integers(1, 20)))
        elif choice == 2:
            spoilt[place : place + 4] = rng.choice([0, 255, 127], 4).astype(np.uint8).tobytes()
        elif place < len(spoilt):
            spoilt[place] = int(rng.integers(256))
    return bytes(spoilt)


def replaced(value: Any, rng: np.random.Generator) -> Any:
    """A JSON value with one entry somewhere replaced, renamed, removed or nested deeply."""
    if isinstance(value, dict) and value and rng.integers(8):
        key = list(value)[int(rng.integers(len(value)))]
        changed = dict(value)
        choice = int(rng.integers(8))
        if choice == 0:
            changed[str(VALUES[int(rng.integers(len(HOSTILE_TEXTS)))])] = changed.pop(key)
        elif choice == 1:
            del changed[key]
        else:
            changed[key] = replaced(value[key], rng)
        return changed
    if isinstance(value, list) and value and rng.integers(4):
        place = int(rng.integers(len(value)))
        return [*value[:place], replaced(value[place], rng), *value[place + 1 :]]
    if rng.integers(20) == 0:
        nested: Any = value
        for _ in range(int(rng.choice([10, 900]))):
            nested = [nested]
        return nested
    return VALUES[int(rng.integers(len(VALUES)))]


def other_columns(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """A column removed, twice there, renamed, or of another type."""
    count = len(table)
    others = (
        pa.nulls(count),
        pa.array([1.5] * count),
        pa.array([b"\xff\xfe"] * count, pa.binary()),
        pa.array([[{"a": 1}]] * count),
        pa.array(["x"] * count, pa.large_string()),
        pa.array(["x"] * count).dictionary_encode(),
        pa.array([10**30] * count, pa.decimal128(38)),
        pa.array([2**40] * count, pa.int64()),
        pa.array([0] * count, pa.timestamp("ns")),
        pa.array([[1.0] * 5] * count, pa.list_(pa.float32(), 5)),
        pa.array([[float("nan")] * 3] * count, pa.list_(pa.float32())),
        pa.array([True] * count),
        pa.array([2**60] * count, pa.duration("ns")),
        pa.array([b"12345678"] * count, pa.binary(8)),
    )
    for _ in range(int(rng.integers(1, 3))):
        place, other = int(rng.integers(table.num_columns)), others[int(rng.integers(len(others)))]
        name, choice = table.column_names[place], int(rng.integers(4))
        if choice == 0:
            table = table.remove_column(place)
        elif choice == 1:
            table = table.append_column(name, table.column(place))
        else:
            table = table.set_column(place, name, other)
    return table


def other_values(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """Values that no honest writer writes, in columns of the right types."""
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.integers(table.num_columns))
        field, values = table.schema.field(place), table.column(place).to_pylist()
        numbers = (float("nan"), float("inf"), 1e30, -2.0, 32767, -32768, 7, -1)
        for row in rng.integers(len(values), size=int(rng.integers(1, 6))).tolist():
            number = numbers[int(rng.integers(len(numbers)))]
            if pa.types.is_string(field.type):
                values[row] = HOSTILE_TEXTS[int(rng.integers(len(HOSTILE_TEXTS)))]
            elif pa.types.is_list(field.type):
                values[row] = [number] * int(rng.integers(0, 9))
            elif pa.types.is_integer(field.type):
                values[row] = int(number) if abs(number) < 40_000 else None
            else:
                values[row] = number
            if rng.integers(8) == 0:
                values[row] = None
        table = table.set_column(place, field.name, pa.array(values, field.type))
    return table


def large(table: pa.Table, metadata: bytes, rng: np.random.Generator) -> tuple[pa.Table, bytes]:
    """Small files that are large: one text for many rows, very many columns, label sets or classes."""
    choice = int(rng.integers(5))
    if choice == 0:
        count = int(rng.choice([60_000, 400_000]))
        index = pa.array(np.zeros(count, np.int32))
        text = pa.array(["x" * int(rng.choice([1000, 100_000, 10_000_000]))])
        columns = {}
        for name, column in zip(table.column_names, table.columns, strict=True):
            value = column.combine_chunks().slice(0, 1)
            if pa.types.is_string(value.type):
                value = text if rng.integers(2) else value
                columns[name] = pa.DictionaryArray.from_arrays(index, value)
            else:
                columns[name] = value.take(index)
        return pa.table(columns), metadata
    if choice == 1:
        more = int(rng.choice([1000, 100_000])) if rng.integers(10) == 0 else 500
        return pa.table(
            {**dict(zip(table.column_names, table.columns, strict=True)), **{f"c{n}": table["id"] for n in range(more)}}
        ), metadata
    value = json.loads(metadata)
    if choice == 2:
        first = next(iter(value["label_sets"].values()))
        for number in range(int(rng.choice([100, 5000]))):
            value["label_sets"][f"class_{number}"] = {**first, "columns": {"label": f"c{number}"}}
    elif choice == 3:
        value["tasks"]["class"]["classes"] = [f"c{n}" for n in range(int(rng.choice([1000, 2**15, 2**16])))]
    else:
        value["dataset"]["name"] = "n" * int(rng.choice([10_000, 5_000_000]))
    return table, json.dumps(value).encode()


IMPORTS = {
    "a.csv": b'id,expression,valence,arousal\ntrain_00001,sad,0.5,-0.25\ntrain_00002,3,0.1,nan\n"q,uoted",happy,1,1\n',
    "long.csv": b"image,annotator,label\nbasic/Image/original/train_00001.jpg,me,sad\n1.jpg,you,7\n",
    "list.txt": b"train_00001.jpg 3\ntest_0001.jpg 5\n",
    "deepface.json": b'[{"image": "train_00001", "dominant_emotion": "sad", "emotion": {"sad": 99.5, "happy": 0.5}}]',
    "studio.json": b'[{"data": {"image": "/data/train_00001.jpg"}, "annotations": [{"completed_by": 3, "result": '
    b'[{"type": "choices", "value": {"choices": ["sad"]}}]}]}]',
    "lines.jsonl": b'{"id": "train_00001", "expression": "sad"}\n{"id": "train_00002", "expression": 4}\n',
    "ferplus.csv": b"Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
    b"Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0\n",
    "pyfeat.csv": b"FaceRectX,FaceRectY,FaceRectWidth,FaceRectHeight,anger,disgust,fear,happiness,sadness,surprise,"
    b"neutral,input\n1,1,9,9,.1,.1,.1,.1,.1,.1,.4,train_00001.jpg\n",
}


def import_judge(folder: Path) -> Judge:
    """Import a spoilt file of labels into a manifest."""
    from import_files import imported, raf
    from noisyfer.core.errors import UserError

    manifest = raf(folder / "m.parquet")

    def decide(case: Case) -> str:
        name, seed = case
        rng = np.random.default_rng(seed)
        data = IMPORTS[name]
        if seed % 3 == 0 and name.endswith(".json"):
            data = json.dumps(replaced(json.loads(data), rng)).encode()
        elif seed % 3 == 1 and not name.endswith(".json"):
            text = HOSTILE_TEXTS[int(rng.integers(len(HOSTILE_TEXTS)))].encode("utf-8", "replace")
            parts = data.split(b",")
            parts[int(rng.integers(len(parts)))] = text
            data = b",".join(parts) * int(rng.choice([1, 1, 500]))
        elif seed:
            data = spoilt_bytes(data, rng)
        (folder / name).write_bytes(data)
        try:
            imported(manifest, folder / name, out=folder / "out.parquet")
        except UserError as error:
            return f"refused: {told(error)}"
        finally:
            (folder / "out.parquet").unlink(missing_ok=True)
        return "imported"

    return decide
