"""From what a source and its teachers say to the rows of a manifest."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.errors import UserError
from ..core.schema import EYES, FACE_BOX, STATUS_OK, Header, LabelSet, Task, arrow_schema
from .pipeline import Outcome, float32_eyes
from .sources import Source
from .sources.vocabulary import order_classes, same_class
from .teachers import Teacher

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TeacherSet:
    """One label set that a teacher fills.

    Attributes:
        teacher: its annotator name.
        label_set: with the columns.
        order: for each class of the task the teacher's class, −1 where it knows none; empty for valence and arousal.
    """

    teacher: str
    label_set: LabelSet
    order: tuple[int, ...]


def plan_tasks(source: Source, teachers: Sequence[Teacher]) -> dict[str, Task]:
    """The tasks of the new manifest: the source's, and of the teachers what the source does not have."""
    tasks = dict(source.tasks())
    for teacher in teachers:
        for name, task in teacher.tasks.items():
            if name not in tasks:
                tasks[name] = Task(name, task.kind, order_classes(task.classes))
    return tasks


def plan_teacher_sets(
    tasks: Mapping[str, Task], teachers: Sequence[Teacher], taken: Mapping[str, LabelSet], *, probs: bool
) -> tuple[TeacherSet, ...]:
    """A label set for each teacher and task.

    Args:
        tasks: of the new manifest.
        teachers: with different annotator names.
        taken: label sets that are there already.
        probs: keep the class probabilities.

    Raises:
        UserError: a name is taken, or a teacher's classes are not the task's.
    """
    planned: list[TeacherSet] = []
    for teacher in teachers:
        for name in teacher.tasks:
            order = _order(teacher, tasks[name])
            provenance = _provenance(teacher, tasks[name], order)
            if tasks[name].kind == "categorical":
                made = LabelSet.categorical(name, teacher.annotator, "model", provenance, probs=probs)
            else:
                made = LabelSet.valence_arousal(teacher.annotator, "model", provenance)
            if made.name in taken or any(made.name == other.label_set.name for other in planned):
                raise UserError(
                    f"There is a label set '{made.name}' already. Give the teacher another name, such as "
                    f"--model {teacher.annotator}2=FILE, or --as {teacher.annotator}2 where a run predicts."
                )
            planned.append(TeacherSet(teacher.annotator, made, order))
    return tuple(planned)


def table(
    header: Header, sets: Sequence[TeacherSet], outcomes: Sequence[Outcome], images: Sequence[str | None] | None = None
) -> Any:
    """The rows of some outcomes as an Arrow table, and how many values of each annotator had to be clipped.

    Args:
        header: of the manifest.
        sets: what the teachers fill.
        outcomes: in order.
        images: references of the aligned faces that were kept, None where there is none. Where this job keeps none at
            all, those that the source has stay.
    """
    filled, clipped = _teacher_columns(sets, outcomes)  # first: it may find more failures
    samples = [outcome.sample for outcome in outcomes]
    columns: dict[str, Any] = {
        "id": [sample.id for sample in samples],
        "split": [sample.split for sample in samples],
        "image": [sample.image for sample in samples],
        "status": [outcome.status for outcome in outcomes],
        "detail": [outcome.detail for outcome in outcomes],
    }
    if header.faces:
        columns |= _face_columns(outcomes, images)
    columns |= filled
    schema = arrow_schema(header)
    plain = {name: [sample.values.get(name) for sample in samples] for name in schema.names if name not in columns}
    columns |= plain
    # through plain texts: whatever dictionary Arrow builds here, the writer makes its own
    arrays = [_column(columns[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema), clipped


def faces_table(outcomes: Sequence[Outcome], size: int, file: str) -> tuple[pa.Table, list[str | None]]:
    """Aligned faces as the hub's image column (PNG, so that their pixels stay), and a reference for each outcome."""
    pictures: list[dict[str, Any]] = []
    references: list[str | None] = []
    for outcome in outcomes:
        face = outcome.faces.get((size, True)) if outcome.status == STATUS_OK else None
        references.append(None if face is None else f"{file}#{len(pictures)}")
        if face is not None:
            pictures.append({"bytes": _png(face), "path": outcome.sample.id})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.table({"image": pa.array(pictures, kind)}), references


def _order(teacher: Teacher, task: Task) -> tuple[int, ...]:
    if task.kind != "categorical":
        return ()
    theirs = teacher.tasks[task.name].classes
    order = tuple(
        next((index for index, name in enumerate(theirs) if same_class(name, wanted)), -1) for wanted in task.classes
    )
    known = sum(index >= 0 for index in order)
    if known < 2:
        raise UserError(
            f"The teacher '{teacher.annotator}' tells {', '.join(theirs)} apart, and the task '{task.name}' has the "
            f"classes {', '.join(task.classes)}: at least two must have the same name. Correct 'classes' or "
            "'vocabulary' beside the model, or choose another teacher."
        )
    return order


def _provenance(teacher: Teacher, task: Task, order: tuple[int, ...]) -> dict[str, Any]:
    told = {
        "checkpoint_sha256": teacher.sha256,
        "architecture": teacher.architecture,
        "size": teacher.size,
        "aligned": teacher.align,
        "figures": dict(teacher.figures),
        **({"origin": dict(teacher.origin)} if teacher.origin else {}),
    }
    if order:
        theirs = teacher.tasks[task.name].classes
        told["classes"] = list(theirs)
        told["left_out"] = [name for index, name in enumerate(theirs) if index not in order]
        told["unknown_to_it"] = [name for name, index in zip(task.classes, order, strict=True) if index < 0]
    return told


def _face_columns(outcomes: Sequence[Outcome], images: Sequence[str | None] | None) -> dict[str, list[Any]]:
    found = [outcome.face for outcome in outcomes]
    boxes = [None if face is None else face.box for face in found]
    eyes = [None if face is None else float32_eyes(face.eyes) for face in found]
    columns: dict[str, list[Any]] = {}
    for place, name in enumerate(FACE_BOX):
        columns[name] = [None if box is None else box[place] for box in boxes]
    columns["face_score"] = [None if face is None else face.score for face in found]
    for place, name in enumerate(EYES):
        columns[name] = [None if pair is None else pair[place] for pair in eyes]
    # a job that keeps faces has a folder of its own, in which the source's references would be other people's faces
    found_before = [outcome.sample.values.get("face_image") for outcome in outcomes]
    columns["face_image"] = found_before if images is None else list(images)
    return columns


def _teacher_columns(
    sets: Sequence[TeacherSet], outcomes: Sequence[Outcome]
) -> tuple[dict[str, list[Any]], dict[str, int]]:
    columns: dict[str, list[Any]] = {}
    clipped: dict[str, int] = {}
    for made in sets:
        roles = made.label_set.columns
        answers = [outcome.labels.get((made.teacher, made.label_set.task)) for outcome in outcomes]
        if made.order:
            probabilities = [None if answer is None else _ordered(answer, made.order) for answer in answers]
            for outcome, answer, chosen in zip(outcomes, answers, probabilities, strict=True):
                if answer is not None and chosen is None:
                    outcome.fail(
                        "bad_output", f"the teacher '{made.teacher}' gives none of the classes any probability"
                    )
            columns[roles["label"]] = [None if chosen is None else int(chosen.argmax()) for chosen in probabilities]
            if "probs" in roles:
                columns[roles["probs"]] = probabilities
            continue
        moved = [None if answer is None else np.clip(answer, -1, 1) for answer in answers]
        outside = [np.abs(answer) > 1 for answer in answers if answer is not None]
        clipped[made.teacher] = clipped.get(made.teacher, 0) + int(np.sum(outside))
        for place, role in enumerate(("valence", "arousal")):
            columns[roles[role]] = [None if pair is None else float(pair[place]) for pair in moved]
    return columns, clipped


def _ordered(answer: Array, order: tuple[int, ...]) -> Array | None:
    """Probabilities in the task's order, over its classes alone; None where they have none together."""
    chosen = np.array([answer[index] if index >= 0 else 0.0 for index in order], np.float64)
    total = chosen.sum()
    return (chosen / total).astype(np.float32) if total > 0 else None


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.array(values, plain).cast(kind)


def _png(face: Array) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(face).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
