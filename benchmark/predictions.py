"""What a run's method says of each test sample, as a table beside its result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.files import whole_file
from ..training.data import SplitData
from .choose import Choice

AXES = ("valence", "arousal")


def write_predictions(path: Path, test: SplitData, predicted: Mapping[str, Any], choice: Choice) -> None:
    """Write `id` and, for each task that is learned, what is predicted and, where it is scored, what is true.

    Of classes `<task>` and `<task>_true` (class ids, null where there is no true one) and `<task>_probs` (K
    probabilities); of valence and arousal `valence`, `arousal`, `valence_true` and `arousal_true`.

    Args:
        path: the file, whole or not there.
        test: the samples and their true labels.
        predicted: by task, probabilities N×K, or valence and arousal N×2.
        choice: which set is a task's truth.
    """
    columns: dict[str, pa.Array] = {"id": pa.array(test.ids, pa.string())}
    for task, continuous in {spec.task: spec.continuous for spec in choice.specs}.items():
        values = np.asarray(predicted[task], np.float32)
        truth = test.labels[choice.truth[task]] if task in choice.truth else None
        if continuous:
            for place, axis in enumerate(AXES):
                columns[axis] = pa.array(values[:, place])
                if truth is not None:
                    columns[f"{axis}_true"] = pa.array(truth.values[:, place].astype(np.float32), mask=~truth.present)
            continue
        columns[task] = pa.array(values.argmax(axis=1).astype(np.int16))
        if truth is not None:
            columns[f"{task}_true"] = pa.array(truth.values.astype(np.int16), mask=~truth.present)
        columns[f"{task}_probs"] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    with whole_file(path) as temporary:
        pq.write_table(pa.table(columns), temporary)
