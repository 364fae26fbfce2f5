"""Random rows of manifests, made a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

CLASSES = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
CHUNK = 100_000

Columns = dict[str, Any]


def chunks(rows: int) -> Iterator[tuple[np.random.Generator, np.ndarray[Any, Any], Columns]]:
    """For each chunk the stream to draw from, the numbers of its rows, and their columns but for split and labels."""
    draw = np.random.default_rng(0)
    for start in range(0, rows, CHUNK):
        numbers = np.arange(start, min(start + CHUNK, rows))
        names = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 8, "0")
        yield (
            draw,
            numbers,
            {
                "id": pc.binary_join_element_wise("face", names, "_"),
                "image": pc.binary_join_element_wise(pc.binary_join_element_wise("faces", names, "/"), "jpg", "."),
                "status": pa.repeat("ok", len(numbers)),
                "detail": pa.nulls(len(numbers), pa.string()),
            },
        )
