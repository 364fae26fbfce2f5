"""What a manifest says about itself: tasks, label sets, where the images are; and the columns that follow from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .. import __version__
from .errors import UserError
from .files import hint_seen_from

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

SCHEMA_VERSION = 1
METADATA_KEY = b"noisyfer"
KINDS = ("human", "model", "synthetic", "aggregate", "imported")
NOISY_KINDS = ("synthetic", "model", "imported")
TRUTH_ANNOTATORS = ("clean", "human")
"""Whose labels others are scored against, the first that there is."""
SPLITS = ("train", "val", "test")
STATUS_OK = "ok"
REQUIRED = ("id", "split", "image", "status")
MAX_CLASSES = 2**15
FACE_BOX = ("face_left", "face_top", "face_right", "face_bottom")
EYES = ("eye_left_x", "eye_left_y", "eye_right_x", "eye_right_y")
"""The eye centres that a face is aligned by; left and right as seen in the picture."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_JSON_NOUNS: dict[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
_ROLES = {"categorical": ({"label"}, {"probs"}), "continuous": ({"valence", "arousal"}, set[str]())}


class ManifestError(UserError):
    """A file that is no manifest, or one that contradicts itself."""


@dataclass(frozen=True)
class Task:
    """Something to predict for an image.

    Attributes:
        name: `expression`, `va`, `class`.
        kind: `categorical` (class ids 0 to K − 1) or `continuous` (valence and arousal, each in [-1, 1]).
        classes: the K class names in the order of their ids; empty for a continuous task.
    """

    name: str
    kind: Literal["categorical", "continuous"]
    classes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The task's entry in the metadata."""
        if self.kind == "categorical":
            return {"kind": self.kind, "classes": list(self.classes)}
        return {"kind": self.kind, "range": [-1.0, 1.0]}

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that hold its labels: `label`, or `valence` and `arousal`."""
        return ("label",) if self.kind == "categorical" else ("valence", "arousal")


@dataclass(frozen=True)
class LabelSet:
    """One annotator's labels for one task.

    Attributes:
        name: unique in a manifest, by custom `<task>_<annotator>`.
        task: the task's name.
        annotator: who labelled: `human`, `raf`, `flip20`, `majority`, …
        kind: `human`, `model`, `synthetic`, `aggregate` or `imported`.
        columns: role to column: `label` and perhaps `probs` for a categorical task, `valence` and `arousal` otherwise.
        provenance: where the labels come from, as JSON values.
    """

    name: str
    task: str
    annotator: str
    kind: str
    columns: Mapping[str, str]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def categorical(
        cls, task: str, annotator: str, kind: str, provenance: Mapping[str, Any], *, probs: bool = False
    ) -> LabelSet:
        """A categorical label set with the customary names."""
        name = f"{task}_{annotator}"
        columns = {"label": name} | ({"probs": f"{name}_probs"} if probs else {})
        return cls(name, task, annotator, kind, columns, provenance)

    @classmethod
    def valence_arousal(cls, annotator: str, kind: str, provenance: Mapping[str, Any], task: str = "va") -> LabelSet:
        """A valence/arousal label set with the customary names."""
        columns = {"valence": f"valence_{annotator}", "arousal": f"arousal_{annotator}"}
        return cls(f"{task}_{annotator}", task, annotator, kind, columns, provenance)

    @property
    def parents(self) -> list[str]:
        """The label sets it was made from, so far as its provenance, which may hold anything, names some."""
        found = self.provenance.get("parents")
        return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []

    def to_json(self) -> dict[str, Any]:
        """The label set's entry in the metadata."""
        return {
            "task": self.task,
            "annotator": self.annotator,
            "kind": self.kind,
            "columns": dict(self.columns),
            "provenance": dict(self.provenance),
        }


@dataclass(frozen=True)
class Dataset:
    """Where the images are.

    Attributes:
        name: `cifar10`, `raf`, …
        root: a hint: the dataset's folder or archive, absolute or relative to the manifest's folder.
        fingerprint: SHA-256 over the dataset's pixels and labels, or empty where it was not taken.
    """

    name: str
    root: str = ""
    fingerprint: str = ""


@dataclass(frozen=True)
class Header:
    """A manifest's metadata.

    Attributes:
        dataset: where the images are.
        tasks: by name.
        label_sets: by name, in the order of their columns.
        parents: of a manifest that was made from others: file name and SHA-256 of each.
        faces: whether the columns about faces are there.
        faces_root: the folder that the column `face_image` is relative to, a hint like `dataset.root`; empty where no
            aligned faces were kept.
        created_by: the version of noisyfer that wrote it.
    """

    dataset: Dataset
    tasks: Mapping[str, Task]
    label_sets: Mapping[str, LabelSet]
    parents: tuple[Mapping[str, str], ...] = ()
    faces: bool = False
    faces_root: str = ""
    created_by: str = __version__

    def __post_init__(self) -> None:
        for name, task in self.tasks.items():
            _check_task(name, task)
            _check_key("Task", name, task.name)
        taken: dict[str, str] = {}
        reserved = sample_columns(faces=True)
        for name, label_set in self.label_sets.items():
            _check_label_set(name, label_set, self.tasks)
            _check_key("Label set", name, label_set.name)
            for column in label_set.columns.values():
                if column in taken or column in reserved:
                    owner = taken.get(column, "every sample")
                    raise ManifestError(f"Label set '{name}' claims the column {column!r}, which belongs to {owner}.")
                taken[column] = f"label set '{name}'"

    def seen_from(self, folder: Path, before: Path) -> Header:
        """The same header for a manifest in `folder`, where this one was for a manifest in the folder `before`."""
        dataset = replace(self.dataset, root=hint_seen_from(self.dataset.root, folder, before))
        return replace(self, dataset=dataset, faces_root=hint_seen_from(self.faces_root, folder, before))

    def with_label_sets(
        self, added: Iterable[LabelSet], parents: tuple[Mapping[str, str], ...], tasks: Iterable[Task] = ()
    ) -> Header:
        """This header with more label sets and tasks, and the parents it was made from.

        Raises:
            ManifestError: a name is taken, or a set does not fit the tasks.
        """
        label_sets, every_task = dict(self.label_sets), dict(self.tasks)
        for task in tasks:
            if task.name in every_task:
                raise ManifestError(f"There is a task '{task.name}' already; label sets can be added to it as it is.")
            every_task[task.name] = task
        for label_set in added:
            if label_set.name in label_sets:
                taken = f"There is a label set '{label_set.name}' already"
                raise ManifestError(f"{taken}. Give the annotator another name, or drop the old.")
            label_sets[label_set.name] = label_set
        return replace(self, tasks=every_task, label_sets=label_sets, parents=parents, created_by=__version__)

    def to_json(self) -> str:
        """The text stored under the schema metadata key `noisyfer`.

        Raises:
            ManifestError: a provenance holds something that JSON has not, such as NaN or an array.
        """
        dataset = {"name": self.dataset.name, "root": self.dataset.root, "fingerprint": self.dataset.fingerprint}
        value = {
            "schema": SCHEMA_VERSION,
            "dataset": dataset,
            "tasks": {name: task.to_json() for name, task in self.tasks.items()},
            "label_sets": {name: label_set.to_json() for name, label_set in self.label_sets.items()},
            "parents": [dict(parent) for parent in self.parents],
            "faces": self.faces,
            "faces_root": self.faces_root,
            "created_by": self.created_by,
        }
        try:
            return _as_json(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise ManifestError(
                f"The manifest's metadata cannot be written as JSON: {error}. A provenance may hold texts, finite "
                "numbers, true, false, null, lists and objects; convert arrays with .tolist() first."
            ) from error

    @classmethod
    def from_json(cls, text: bytes | str) -> Header:
        """Parse and check the metadata text.

        Raises:
            ManifestError: it is no JSON, of a newer schema, or not of the expected form.
        """
        try:
            value = json.loads(text)
            _as_json(value)  # json.loads lets NaN and lone surrogates through, which could not be written again
            version = value["schema"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ManifestError(
                f"its metadata is not what noisyfer writes ({type(error).__name__}: {error})"
            ) from error
        if type(version) is not int or version < 1:
            raise ManifestError(f"its schema version is {version!r:.60}; a whole number from 1 was expected")
        if version > SCHEMA_VERSION:
            raise ManifestError(
                f"it is of schema version {version}, and this noisyfer ({__version__}) reads versions up to "
                f"{SCHEMA_VERSION}; install a newer noisyfer to read it"
            )
        try:
            dataset = _part(value, "dataset", dict)
            return cls(
                dataset=Dataset(**{key: _part(dataset, key, str, "") for key in ("name", "root", "fingerprint")}),
                tasks={name: _task(name, entry) for name, entry in _part(value, "tasks", dict).items()},
                label_sets={name: _label_set(name, entry) for name, entry in _part(value, "label_sets", dict).items()},
                parents=tuple(_texts(parent, "a parent") for parent in _part(value, "parents", list, [])),
                faces=_part(value, "faces", bool, False),
                faces_root=_part(value, "faces_root", str, ""),
                created_by=_part(value, "created_by", str, ""),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ManifestError(f"its metadata lacks or garbles a part ({type(error).__name__}: {error})") from error


def sample_columns(*, faces: bool) -> dict[str, pa.DataType]:
    """The columns every manifest has, and those about faces where they were looked for, with their Arrow types."""
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    columns = {"id": pa.string(), "split": word, "image": pa.string(), "status": word, "detail": pa.string()}
    if faces:
        columns |= {name: pa.float32() for name in (*FACE_BOX, "face_score", *EYES)}
        columns["face_image"] = pa.string()
    return columns


def arrow_schema(header: Header) -> pa.Schema:
    """The Arrow schema of a manifest with this header, the header in its metadata."""
    import pyarrow as pa

    columns = sample_columns(faces=header.faces)
    for label_set in header.label_sets.values():
        columns |= label_columns(label_set, header.tasks[label_set.task])
    fields = [pa.field(name, kind, nullable=name not in REQUIRED) for name, kind in columns.items()]
    return pa.schema(fields, metadata={METADATA_KEY: header.to_json().encode()})


def label_columns(label_set: LabelSet, task: Task) -> dict[str, pa.DataType]:
    """The columns of one label set with their Arrow types."""
    import pyarrow as pa

    kinds = {"label": pa.int16(), "valence": pa.float32(), "arousal": pa.float32()}
    # K numbers each, yet not a fixed-size list: Arrow before version 26 cannot read one of those with missing rows
    kinds["probs"] = pa.list_(pa.float32())
    return {column: kinds[role] for role, column in label_set.columns.items()}


def check_columns(header: Header, stored: pa.Schema) -> None:
    """Compare a file's columns with its metadata; columns that the metadata does not name are nobody's business.

    Raises:
        ManifestError: a column is missing, twice there, or of another type.
    """
    for field_ in arrow_schema(header):
        count = stored.names.count(field_.name)
        if count != 1:
            raise ManifestError(
                f"its metadata speaks of a column {field_.name!r}; the file has {count or 'none'} of it"
            )
        found = stored.field(field_.name).type
        if not _same_kind(found, field_.type):
            raise ManifestError(f"column {field_.name!r} is of type {found}; {field_.type} was expected")


def _as_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode()  # raises for a lone surrogate
    return text


def _part(value: Any, key: str, kind: type[T], *default: T) -> T:
    """The entry `key` of a JSON object, which must be of this kind."""
    if not isinstance(value, dict):
        raise TypeError(f"an object with '{key}' was expected, found {value!r:.60}")
    found = value.get(key, *default) if default else value[key]
    if not isinstance(found, kind):
        raise TypeError(f"'{key}' is {found!r:.60}; {_JSON_NOUNS[kind]} was expected")
    return found


def _texts(value: Any, what: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(entry, str) for entry in value.values()):
        raise TypeError(f"{what} is {value!r:.60}; an object of texts was expected")
    return value


def _same_kind(found: pa.DataType, expected: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_list(expected):  # other tools write the same Parquet column from longer or fixed lists
        lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        return any(is_one(found) for is_one in lists) and bool(found.value_type == expected.value_type)
    if not (pa.types.is_dictionary(expected) or pa.types.is_string(expected)):
        return bool(found == expected)
    text = found.value_type if pa.types.is_dictionary(found) else found
    return bool(pa.types.is_string(text) or pa.types.is_large_string(text) or pa.types.is_string_view(text))


def _task(name: str, entry: Any) -> Task:
    classes = _part(entry, "classes", list, [])
    if not all(isinstance(label, str) for label in classes):
        raise TypeError(f"the class names of task {name!r} are {classes!r:.60}; a list of texts was expected")
    limits = _part(entry, "range", list, [-1, 1])
    if limits != [-1, 1]:
        raise ValueError(f"the range of task {name!r} is {limits!r:.60}; [-1, 1] was expected")
    return Task(name, _part(entry, "kind", str), tuple(classes))  # type: ignore[arg-type]


def _label_set(name: str, entry: Any) -> LabelSet:
    columns = _texts(_part(entry, "columns", dict), f"the columns of label set {name!r}")
    task, annotator, kind = (_part(entry, key, str) for key in ("task", "annotator", "kind"))
    return LabelSet(name, task, annotator, kind, columns, _part(entry, "provenance", dict))


def _check_key(kind: str, key: str, name: str) -> None:
    if key != name:
        raise ManifestError(f"{kind} {name!r} stands under the name {key!r}; the same name was expected.")


def _check_task(name: str, task: Task) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ManifestError(f"A task is named {name!r}; letters, digits and _ . - were expected.")
    if task.kind not in _ROLES:
        raise ManifestError(f"Task '{name}' is of kind {task.kind!r:.60}; categorical or continuous was expected.")
    if task.kind == "categorical" and (len(task.classes) < 2 or len(set(task.classes)) != len(task.classes)):
        raise ManifestError(
            f"Task '{name}' needs at least two class names, all different; found {list(task.classes)!r:.200}."
        )
    if len(task.classes) > MAX_CLASSES:
        raise ManifestError(f"Task '{name}' has {len(task.classes)} classes; at most {MAX_CLASSES} fit in int16.")
    if task.kind == "continuous" and task.classes:
        raise ManifestError(f"Task '{name}' is continuous and has class names; only a categorical task has them.")


def _check_label_set(name: str, label_set: LabelSet, tasks: Mapping[str, Task]) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ManifestError(f"A label set is named {name!r}; letters, digits and _ . - were expected.")
    if label_set.task not in tasks:
        raise ManifestError(f"Label set '{name}' is for a task {label_set.task!r} that the manifest does not have.")
    if label_set.kind not in KINDS:
        raise ManifestError(
            f"Label set '{name}' is of kind {label_set.kind!r:.60}; one of {', '.join(KINDS)} was expected."
        )
    if not label_set.annotator or not all(label_set.columns.values()):
        raise ManifestError(f"Label set '{name}' has an empty annotator or column name.")
    required, optional = _ROLES[tasks[label_set.task].kind]
    roles = set(label_set.columns)
    if not required <= roles or not roles <= required | optional:
        raise ManifestError(
            f"Label set '{name}' has columns for {sorted(roles)!r:.200}; {sorted(required)} was expected"
            + (f", and perhaps {sorted(optional)}." if optional else ".")
        )
