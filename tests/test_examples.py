"""Which test images a table shows: where the last system is right and others are not, and where it is wrong."""

from __future__ import annotations

import numpy as np
from noisyfer.benchmark.examples import FAILURES, SUCCESSES, choose_examples


def test_successes_are_where_most_others_fail_and_failures_are_failures() -> None:
    truth = np.zeros(40, int)
    last = np.where(np.arange(40) < 30, 0, 1)
    first = np.where(np.arange(40) % 3 == 0, 1, 0)
    second = np.where(np.arange(40) % 6 == 0, 2, 0)
    right, wrong = choose_examples({"a": first, "b": second, "ours": last}, truth)
    assert len(right) == SUCCESSES
    assert len(wrong) == FAILURES
    assert all(place < 30 for place in right)
    assert all(place >= 30 for place in wrong)
    # both others fail on 0, 6 … 24, one of them on 3, 9 … 27: no other of the 30 is shown
    assert set(right) == {0, 3, 6, 9, 12, 15, 18, 21, 24, 27}
    assert set(right[:5]) == {0, 6, 12, 18, 24}
    assert choose_examples({"a": first, "b": second, "ours": last}, truth) == (right, wrong)


def test_a_single_system_and_few_samples_give_what_there_is() -> None:
    right, wrong = choose_examples({"ours": np.array([0, 1, 1])}, np.array([0, 0, 1]))
    assert set(right) == {0, 2}
    assert wrong == [1]
