"""Values that are there more than once, in memory that hardly grows with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa


def repeats(arrays: Callable[[], Iterable[pa.Array]]) -> int:
    """How many strings of a column stand for one that was there before: rows less distinct ones.

    Eight bytes a row are kept, a hash; strings are compared only where two rows have the same one, in a second pass.

    Args:
        arrays: the column in pieces without nulls; read once more where hashes repeat.
    """
    hashes = np.concatenate([np.empty(0, np.uint64), *(_hashes(array) for array in arrays())])
    hashes.sort()
    shared = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    if not len(shared):
        return 0
    rows, distinct = 0, set[Any]()
    for array in arrays():
        found = array.filter(pa.array(np.isin(_hashes(array), shared))).to_pylist()
        rows += len(found)
        distinct.update(found)
    return rows - len(distinct)


def _hashes(strings: pa.Array) -> np.ndarray[Any, np.dtype[np.uint64]]:
    import pandas as pd

    found: np.ndarray[Any, np.dtype[np.uint64]] = pd.util.hash_array(
        strings.to_numpy(zero_copy_only=False), categorize=False
    )
    return found
