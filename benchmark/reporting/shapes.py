"""What the files of a run must hold for a page to be made of them; they may be old, cut off or someone else's."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any

from ...core.errors import UserError
from ...training.folder import RunFolder

NUMBER = (int, float, NoneType)
SCORES = {"*": {"*": NUMBER}}

LARGEST = 1e100
"""No run has larger numbers, and whatever is worked out of smaller ones is finite."""

CONFIG = {
    "run": {
        "method": str,
        "seed": int,
        "labels": [str],
        "truth": {"*": str},
        "settings": {"epochs": int},
        "options": dict,
    },
    "manifest": {"name": str, "sha256": str},
}

ROW = {"epoch": int, "test": SCORES, "losses": {"*": NUMBER}, "agreement": {"*": NUMBER}}

RESULT = {
    "truth": {"*": str},
    "last": {"epoch": int, "test": SCORES, "heads": SCORES, "agreement": {"*": NUMBER}},
    "confusion": {"*": [[int]]},
    "class_f1": {"*": [NUMBER]},
    "noise": SCORES,
    "head_tasks": {"*": str},
    "seconds": {"training": (int, float)},
    "peak_memory_mib": (int, float),
}

ORACLE = {"oracle": {"epoch": int, "test": SCORES}}
"""Of a result too, where something is scored; otherwise it is null."""

TABLE_RUN = {
    "system": str,
    "method": str,
    "published": {"*": {"*": NUMBER}},
    "seed": int,
    "labels": {"*": str},
    "manifest": {"name": str, "sha256": str},
    "settings": {"epochs": int},
    "options": dict,
}

IDENTITY = {"init": str, "device": str}
"""Of a table's run, as of its `config.json`; tables of before lack them, and then nobody knows them."""


def misfit(value: Any, shape: Any, place: str = "") -> str:
    """Where a value read from JSON first differs from a shape, as `last.test.class`; empty where it fits.

    Args:
        value: any JSON.
        shape: a type or several; a list of one shape, for lists of it; a dict of keys that must be there, `*` for all.
        place: the value's own name, put before.
    """
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return place or "everything"
        inner = [(key, each) for asked, each in shape.items() for key in (value if asked == "*" else [asked])]
        found = (
            misfit(value[key], each, _under(place, key)) if key in value else _under(place, key) for key, each in inner
        )
        return next(filter(None, found), "")
    if isinstance(shape, list):
        if not isinstance(value, list):
            return place
        return next(filter(None, (misfit(each, shape[0], f"{place}[{at}]") for at, each in enumerate(value))), "")
    absurd = isinstance(value, (int, float)) and not abs(value) <= LARGEST  # NaN too, which a run writes as null
    return "" if isinstance(value, shape) and not absurd else place


def check(value: Any, shape: Any, what: str) -> None:
    """Raise where a value read from JSON does not have a shape.

    Raises:
        UserError: names the file and the first entry that is missing or of another kind.
    """
    wrong = misfit(value, shape)
    if wrong:
        raise UserError(f"{what} is damaged: its '{wrong}' is missing or not what a run writes.")


def check_result(result: Any, what: str, truth: Mapping[str, str] | None = None) -> None:
    """Check a run's `result.json` as a whole: its parts must also fit each other.

    Args:
        result: what was read.
        what: the file's name.
        truth: what the run was to be scored against, by task; None where nobody knows.

    Raises:
        UserError: names the file and what does not fit.
    """
    check(result, RESULT, what)
    last = result["last"]
    if truth is not None and result["truth"] != truth:
        raise UserError(f"{what} is damaged: its 'truth' is not what the run was to be scored against.")
    named = all(scores.keys() & {"accuracy", "ccc"} for scores in last["test"].values())
    if not named or (result["truth"] and not last["test"]):
        raise UserError(f"{what} is damaged: its 'last.test' has no task, or one without accuracy and ccc.")
    if last["test"]:
        check(result, ORACLE, what)
    best = result["oracle"]["test"] if last["test"] else {}
    for task in result["truth"] | last["test"] | result["confusion"]:
        places = {"truth": result["truth"], "last.test": last["test"], "oracle.test": best}
        for place, entries in places.items():
            if task not in entries:
                raise UserError(f"{what} is damaged: its '{place}' has nothing of {task}.")
        if not last["test"][task].keys() <= best[task].keys():
            raise UserError(f"{what} is damaged: its 'oracle.test.{task}' lacks scores of the last epoch.")
    for head, scores in last["heads"].items():
        task = result["head_tasks"].get(head)
        if task not in last["test"] or not last["test"][task].keys() <= scores.keys():
            raise UserError(f"{what} is damaged: its 'heads.{head}' has no task or lacks scores.")
    for task, counts in result["confusion"].items():
        classes = len(counts)
        if any(len(row) != classes for row in counts) or len(result["class_f1"].get(task, [])) != classes:
            raise UserError(f"{what} is damaged: its 'confusion.{task}' and 'class_f1.{task}' are of different sizes.")


def read_result(folder: RunFolder, truth: Mapping[str, str]) -> dict[str, Any] | None:
    """The result of a finished run, or None; whoever reads it may rely on its shape.

    Args:
        folder: of the run.
        truth: what it was to be scored against, by task.

    Raises:
        UserError: the file cannot be read, or is not what a run writes; says how to go on.
    """
    result = folder.finished()
    if result is not None:
        try:
            check_result(result, str(folder.result), truth)
        except UserError as error:
            raise UserError(f"{error} Restore the file, or remove it to start over.") from error
    return result


def read_rows(folder: RunFolder) -> list[dict[str, Any]]:
    """The metrics of every recorded epoch; whoever reads them may rely on their shape.

    Raises:
        UserError: the file cannot be read, or has a line that is not what a run writes; says how to go on.
    """
    rows = folder.rows()
    wrong = misfit(rows, [ROW], "line")
    if wrong:
        raise UserError(
            f"{folder.metrics} is damaged at '{wrong}'. Restore the file, or remove its folder to start over."
        )
    return rows


def _under(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key
