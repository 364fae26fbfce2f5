"""Measured rates, transition matrices and majority votes equal slow counts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noisyfer.benchmark.noise import majority_vote, measured_rate, transition_matrix
from noisyfer.core.streams import rng
from scipy import stats


def test_the_measured_rate_counts_differences() -> None:
    assert measured_rate(np.array([0, 1, 2, 3]), np.array([0, 2, 2, 0], np.int16)) == 0.5
    with pytest.raises(ValueError, match="one length above 0"):
        measured_rate(np.zeros(0, int), np.zeros(0, int))
    with pytest.raises(ValueError, match="got 3 and 1"):
        measured_rate(np.zeros(3, int), np.zeros(1, int))


def test_the_transition_matrix_by_hand() -> None:
    clean, noisy = np.array([0, 0, 0, 0, 2], np.int16), np.array([0, 1, 1, 2, 0], np.int16)
    expected = [[0.25, 0.5, 0.25], [0, 1, 0], [1, 0, 0]]
    assert transition_matrix(clean, noisy, 3).tolist() == expected
    with pytest.raises(ValueError, match="0 to 3, expected 0 to 2"):
        transition_matrix(np.array([0, 3]), np.array([0, 0]), 3)


def slow_majority(votes: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> list[int | None]:
    """The winner of each sample: with m modal classes in ascending order, one draw u takes the floor(u·m)-th."""
    winners: list[int | None] = []
    for sample in range(votes.shape[1]):
        draw = generator.random()
        counts = Counter(int(votes[row, sample]) for row in range(votes.shape[0]) if mask[row, sample])
        if not counts:
            winners.append(None)
            continue
        modal = sorted(label for label, count in counts.items() if count == max(counts.values()))
        winners.append(modal[int(draw * len(modal))])
    return winners


@given(st.integers(1, 6), st.integers(1, 30), st.integers(2, 6), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_majority_agrees_with_the_slow_count_in_any_order(sets: int, samples: int, classes: int, seed: int) -> None:
    generator = rng(seed, "votes")
    votes = generator.integers(0, classes, (sets, samples)).astype(np.int16)
    mask = generator.random((sets, samples)) < 0.7
    votes[~mask] = -1  # whatever stands where there is no vote
    labels, voted = majority_vote(votes, mask, classes, rng(seed, "ties"))
    assert labels.dtype == np.int16
    found = [int(label) if valid else None for label, valid in zip(labels, voted, strict=True)]
    assert found == slow_majority(votes, mask, rng(seed, "ties"))
    assert (labels[~voted] == 0).all()
    order = generator.permutation(sets)
    again, _ = majority_vote(votes[order], mask[order], classes, rng(seed, "ties"))
    assert np.array_equal(labels, again)


def test_without_a_mask_all_vote() -> None:
    votes = np.array([[0, 1, 2], [0, 1, 1], [2, 1, 1]], np.int16)
    labels, voted = majority_vote(votes, None, 3, rng(0))
    assert labels.tolist() == [0, 1, 1]
    assert voted.all()


def test_ties_are_broken_uniformly() -> None:
    votes = np.array([[1], [4], [7]], np.int16).repeat(30_000, axis=1)
    labels, _ = majority_vote(votes, None, 10, rng(0, "majority"))
    counts = np.bincount(labels, minlength=10)
    assert counts[[1, 4, 7]].sum() == 30_000
    assert stats.chisquare(counts[[1, 4, 7]]).pvalue > 0.001


def test_one_sample_s_votes_do_not_change_another_s_tie() -> None:
    votes = rng(0).integers(0, 4, (3, 500)).astype(np.int16)
    before, _ = majority_vote(votes, None, 4, rng(1))
    votes[:, :250] = 2
    after, _ = majority_vote(votes, None, 4, rng(1))
    assert np.array_equal(before[250:], after[250:])


@pytest.mark.parametrize("label", [-1, 3])
def test_votes_out_of_range_are_refused(label: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to 2"):
        majority_vote(np.array([[0, label]]), None, 3, rng(0))
