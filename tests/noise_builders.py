"""Clean labels to put noise on, and the sentence of a refusal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import strategies as st
from noisyfer.benchmark.noise import CleanLabels
from noisyfer.core.errors import UserError

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")


def balanced(count: int, classes: Sequence[str] = CIFAR) -> CleanLabels:
    return CleanLabels(np.arange(count) % len(classes), tuple(classes))


def numbered(labels: np.ndarray, classes: int) -> CleanLabels:
    return CleanLabels(labels, tuple(f"class {index}" for index in range(classes)))


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    return str(caught.value)


any_rate = st.floats(0, 1, exclude_max=True)
