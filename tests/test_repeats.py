"""Counting values that are there more than once, against a set of Python's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from noisyfer.core import repeats as module
from noisyfer.core.repeats import repeats

pieces = st.lists(st.lists(st.text(max_size=2), max_size=6), max_size=4)


@given(pieces)
def test_rows_less_distinct_ones(parts: list[list[str]]) -> None:
    everything = [text for part in parts for text in part]
    assert repeats(lambda: [pa.array(part, pa.string()) for part in parts]) == len(everything) - len(set(everything))


def test_what_only_shares_a_hash_is_no_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_length(strings: pa.Array) -> np.ndarray[Any, Any]:
        return np.array([len(text) for text in strings.to_pylist()], np.uint64)

    monkeypatch.setattr(module, "_hashes", by_length)
    parts = [pa.array(["a", "b", "cc"]), pa.array(["b", "dd", "eee"])]
    assert repeats(lambda: parts) == 1
