"""Any metadata is understood or refused with a sentence, and contradictory tasks are refused."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_rows import HEADER, rows, sentence, with_metadata
from noisyfer.core.schema import METADATA_KEY, arrow_schema
from noisyfer.manifest import Dataset, Header, LabelSet, Manifest, ManifestError, Task, write_manifest

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["class", "va", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "classes", "task", "columns", "label", "schema"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in inner:
        yield (*above, key)
        yield from places(entry, (*above, key))


PLACES = list(places(json.loads(HEADER.to_json())))


@st.composite
def garbled(draw: st.DrawFn) -> str:
    """A manifest's metadata with a few parts replaced, removed or renamed."""
    value = copy.deepcopy(json.loads(HEADER.to_json()))
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(PLACES))
        inner = value
        try:
            for key in way:
                inner = inner[key]
            action = draw(st.sampled_from(["replace", "remove", "rename"]))
            if action == "replace":
                inner[last] = draw(ANY_JSON)
            elif action == "remove":
                del inner[last]
            else:
                inner[draw(st.text(max_size=3))] = inner.pop(last)
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # the first change took the place of the second away
    return json.dumps(value)


@settings(max_examples=200, deadline=None)
@given(ANY_JSON.map(json.dumps) | garbled())
def test_any_json_is_metadata_or_a_manifest_error(text: str) -> None:
    try:
        header = Header.from_json(text)
    except ManifestError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert Header.from_json(header.to_json()) == header
    assert arrow_schema(header).names[:4] == ["id", "split", "image", "status"]


@settings(max_examples=80, deadline=None)
@given(text=garbled().map(str.encode) | st.binary(max_size=20))
def test_any_metadata_in_a_file_is_a_manifest_or_a_sentence(
    text: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = with_metadata(rows(3), {METADATA_KEY: text}, tmp_path_factory.getbasetemp() / "fuzz.parquet")
    try:
        opened = Manifest.open(path)
    except ManifestError:
        sentence(path, lambda: Manifest.open(path))
        return
    assert opened.read().num_rows == 3


@pytest.mark.parametrize(
    ("tasks", "found"),
    [
        ({"x": Task("y", "categorical", ("a", "b"))}, "same name"),
        ({"va": Task("va", "continuous", ("a", "b"))}, "only a categorical task"),
        ({"x": Task("x", "categorical", tuple(map(str, range(2**15 + 1))))}, "int16"),
        ({"x": Task("x", "ordinal")}, "categorical or continuous"),  # type: ignore[arg-type]
        ({"a b": Task("a b", "continuous")}, "letters, digits"),
    ],
)
def test_tasks_that_contradict_themselves_are_refused(tasks: dict[str, Task], found: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(found)):
        Header(Dataset("d"), tasks, {})


def test_the_largest_class_id_fits(path: Path) -> None:
    header = Header(Dataset("d"), {"x": Task("x", "categorical", tuple(map(str, range(2**15))))}, {})
    opened = write_manifest(path, header, [rows(1)])
    label_set = LabelSet.categorical("x", "a", "human", {})
    assert opened.with_label_set(label_set, {"label": [2**15 - 1]}, path).labels("x_a").values.tolist() == [2**15 - 1]
