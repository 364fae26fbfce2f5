"""What fills the folder of a converted manifest, a function a format."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..core.files import write_json
from ..core.schema import Header, LabelSet, Task
from .convert_pictures import Pictures, Record
from .exporting import named_columns

if TYPE_CHECKING:
    import pyarrow as pa

HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""What the hub calls the splits."""

SHARD_BYTES = 256 * 2**20
"""Encoded pictures in one Parquet or tar file."""

GROUP_ROWS = 128
METADATA_NAME = "metadata.parquet"
METADATA_ROWS = 10_000


def imagefolder(folder: Path, pictures: Pictures) -> None:
    """The hub's image folder: `<split>/<picture>`, and a `metadata.parquet` a split with class names and numbers.

    Parquet and no csv, whose columns have other types in a split where a label set is missing, which the hub refuses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    label_columns = named_columns(pictures.view)
    kinds = {name: pa.string() if task.classes else pa.float32() for name, (_, task) in label_columns.items()}
    schema = pa.schema({"file_name": pa.string(), "id": pa.string(), **kinds})
    rows: dict[str, list[dict[str, Any]]] = {}
    with contextlib.ExitStack() as stack:
        writers: dict[str, pq.ParquetWriter] = {}
        for record in pictures:
            split = record.split
            _save(folder / split / record.file, record)
            if split not in writers:
                writers[split] = stack.enter_context(pq.ParquetWriter(folder / split / METADATA_NAME, schema))
                rows[split] = []
            told = {"file_name": record.file, "id": record.row["id"]}
            for name, (column, task) in label_columns.items():
                value = record.row[column]
                told[name] = task.classes[value] if task.classes and value is not None else value
            rows[split].append(told)
            if len(rows[split]) >= METADATA_ROWS:
                writers[split].write_table(pa.Table.from_pylist(rows[split], schema))
                rows[split] = []
        for split, writer in writers.items():
            writer.write_table(pa.Table.from_pylist(rows[split], schema))


def hub(folder: Path, pictures: Pictures) -> None:
    """Parquet files as the hub has them: `data/<split>-00000-of-00001.parquet` with pictures, ids and label columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _hub_schema(pictures.view.header)
    rows: dict[str, list[dict[str, Any]]] = {}
    shards: dict[str, list[Path]] = {}
    sizes: dict[str, int] = {}
    writers: dict[str, pq.ParquetWriter] = {}
    (folder / "data").mkdir()

    def flush(split: str) -> None:
        if rows[split]:
            writers[split].write_table(pa.Table.from_pylist(rows[split], schema))
        rows[split] = []

    try:
        for record in pictures:
            split = HUB_SPLITS[record.split]
            if split not in writers or sizes[split] >= SHARD_BYTES:
                if split in writers:
                    flush(split)
                    writers[split].close()
                parts = shards.setdefault(split, [])
                parts.append(folder / "data" / f"{split}-{len(parts):05d}")
                writers[split] = pq.ParquetWriter(parts[-1], schema, compression="zstd")
                rows[split], sizes[split] = [], 0
            image = {"bytes": record.data, "path": record.file}
            rows[split].append({**{name: record.row.get(name) for name in schema.names}, "image": image})
            sizes[split] += len(record.data)
            if len(rows[split]) >= GROUP_ROWS:
                flush(split)
        for split in writers:
            flush(split)
    finally:
        for writer in writers.values():
            writer.close()
    for found in shards.values():
        for part in found:
            part.rename(part.with_name(f"{part.name}-of-{len(found):05d}.parquet"))


def webdataset(folder: Path, pictures: Pictures) -> None:
    """Tar files: `<split>-000000.tar` with a picture and a JSON a sample, and `classes.json`."""
    sets, tasks = pictures.view.header.label_sets, pictures.view.header.tasks
    with contextlib.ExitStack() as stack:
        tars: dict[str, _Tars] = {}
        for record in pictures:
            if record.split not in tars:
                tars[record.split] = stack.enter_context(_Tars(folder, record.split))
            labels = {name: _told(record, found, tasks[found.task]) for name, found in sets.items()}
            tars[record.split].add(record, {"id": record.row["id"], "image": record.row["image"], "labels": labels})
    write_json(folder / "classes.json", {name: list(task.classes) for name, task in tasks.items() if task.classes})


def coco(folder: Path, pictures: Pictures) -> None:
    """COCO: `images/<split>/<picture>`, and `annotations/<split>.json`.

    A category is a class of a task (its `supercategory`); an annotation is one annotator's label of one sample, with
    the face's box or the whole picture. Valence and arousal stand with the image.
    """
    header = pictures.view.header
    categories: dict[tuple[str, int], dict[str, Any]] = {
        (task.name, place): {"id": 0, "name": name, "supercategory": task.name}
        for task in header.tasks.values()
        for place, name in enumerate(task.classes)
    }
    for number, category in enumerate(categories.values(), 1):
        category["id"] = number
    (folder / "annotations").mkdir()
    with contextlib.ExitStack() as stack:
        documents: dict[str, _Coco] = {}
        for number, record in enumerate(pictures, 1):
            _save(folder / "images" / record.split / record.file, record)
            if record.split not in documents:
                file = folder / "annotations" / f"{record.split}.json"
                documents[record.split] = stack.enter_context(_Coco(file, list(categories.values())))
            document = documents[record.split]
            document.image(_coco_image(number, record, header))
            for found in header.label_sets.values():
                value = record.value(found)
                if header.tasks[found.task].classes and value is not None:
                    place = categories[found.task, value]["id"]
                    document.annotation(_coco_annotation(number, record, found, place))


class _Tars:
    """The tar files of a split, one after the other; nothing is held of those that are full."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split, self.count = folder, split, 0

    def __enter__(self) -> _Tars:
        self._begin()
        return self

    def add(self, record: Record, told: Mapping[str, Any]) -> None:
        """Append a sample, in a new file where the last one is full."""
        if self.size >= SHARD_BYTES:
            self.archive.close()
            self._begin()
        _add(self.archive, record.file, record.data)
        _add(self.archive, f"{record.key}.json", json.dumps(told, ensure_ascii=False).encode())
        self.size += len(record.data)

    def __exit__(self, *error: Any) -> None:
        self.archive.__exit__(*error)

    def _begin(self) -> None:
        name = self.folder / f"{self.split}-{self.count:06d}.tar"
        self.archive = tarfile.open(name, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115  # closed by `add` or at exit
        self.count, self.size = self.count + 1, 0


class _Coco:
    """A COCO document that is written as it comes; annotations wait in a second file."""

    def __init__(self, file: Path, categories: list[dict[str, Any]]) -> None:
        self.file, self.categories, self.annotations = file, categories, 0
        self.images = 0

    def __enter__(self) -> _Coco:
        self.stream: IO[str] = self.file.open("w", encoding="utf-8")
        self.waiting: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", dir=self.file.parent)
        categories = json.dumps(self.categories, ensure_ascii=False)
        self.stream.write(f'{{"info": {{"description": "noisyfer"}}, "categories": {categories}, "images": [')
        return self

    def image(self, value: Mapping[str, Any]) -> None:
        """Append an image."""
        self.stream.write(("," if self.images else "") + "\n" + json.dumps(value, ensure_ascii=False))
        self.images += 1

    def annotation(self, value: Mapping[str, Any]) -> None:
        """Append an annotation, which is given its number."""
        told = {"id": self.annotations + 1, **value}
        self.waiting.write(("," if self.annotations else "") + "\n" + json.dumps(told, ensure_ascii=False))
        self.annotations += 1

    def __exit__(self, *_: object) -> None:
        with self.stream, self.waiting:
            self.stream.write('\n], "annotations": [')
            self.waiting.seek(0)
            for line in self.waiting:
                self.stream.write(line)
            self.stream.write("\n]}\n")


def _coco_image(number: int, record: Record, header: Header) -> dict[str, Any]:
    affect = {
        name: dict(zip(("valence", "arousal"), record.value(found), strict=True))
        for name, found in header.label_sets.items()
        if not header.tasks[found.task].classes and record.value(found) is not None
    }
    width, height = record.size
    told = {"id": number, "file_name": f"images/{record.split}/{record.file}", "width": width, "height": height}
    return {**told, "sample": record.row["id"], **({"affect": affect} if affect else {})}


def _coco_annotation(image: int, record: Record, label_set: LabelSet, category: int) -> dict[str, Any]:
    left, top, right, bottom = record.box or (0.0, 0.0, *map(float, record.size))
    box = [left, top, right - left, bottom - top]
    told = {"image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
    return {**told, "label_set": label_set.name, "annotator": label_set.annotator}


def _hub_schema(header: Header) -> pa.Schema:
    """Columns and the hub's description of them, so that class ids come with their names."""
    import pyarrow as pa

    kinds: dict[str, tuple[pa.DataType, dict[str, Any]]] = {
        "id": (pa.string(), {"dtype": "string", "_type": "Value"}),
        "image": (pa.struct([("bytes", pa.binary()), ("path", pa.string())]), {"_type": "Image"}),
    }
    number = {"dtype": "float32", "_type": "Value"}
    for found in header.label_sets.values():
        names = {"names": list(header.tasks[found.task].classes), "_type": "ClassLabel"}
        for role, column in found.columns.items():
            described: dict[str, tuple[pa.DataType, dict[str, Any]]] = {
                "label": (pa.int64(), names),
                "probs": (pa.list_(pa.float32()), {"feature": number, "_type": "List"}),
            }
            kinds[column] = described.get(role, (pa.float32(), number))
    features = {name: told for name, (_, told) in kinds.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}}, ensure_ascii=False)}
    return pa.schema([(name, kind) for name, (kind, _) in kinds.items()], metadata)


def _told(record: Record, label_set: LabelSet, task: Task) -> Any:
    """A label for people and programs: class id and name, or valence and arousal; None where it is missing."""
    value = record.value(label_set)
    if value is None:
        return None
    if task.classes:
        return {"id": value, "class": task.classes[value]}
    return dict(zip(("valence", "arousal"), value, strict=True))


def _save(file: Path, record: Record) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(record.data)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)  # no dates and owners: the same rows give the same bytes
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
    archive.getmembers().clear()  # the archive's own list, which grows and is not needed to end it
