"""A named random stream draws the same for ever, whatever else is drawn."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from noisyfer.core.streams import rng, stream_seed


def test_a_named_stream_draws_the_same_for_ever() -> None:
    """Golden values: a change here changes every label set and every run that anyone has made."""
    assert stream_seed(0, "flip", "flip20") == 7207713755401783805
    raw = rng(0, "flip", "flip20").bit_generator.random_raw(3)
    assert raw.tolist() == [4549275192258801779, 10499684901888563612, 7455835066176597444]
    assert rng(0, "flip", "flip20").integers(0, 1000, 6).tolist() == [172, 246, 869, 569, 434, 404]
    assert rng(0, "flip", "flip20").permutation(6).tolist() == [2, 5, 0, 1, 4, 3]
    assert rng(0, "flip", "flip20").choice(100, 5, replace=False).tolist() == [23, 56, 16, 43, 85]


def test_the_seed_of_a_stream_is_the_hash_of_its_words() -> None:
    digest = hashlib.sha256(b"7\x1fepoch\x1f12").digest()
    assert stream_seed(7, "epoch", 12) == int.from_bytes(digest[:8], "little") // 2


@given(st.lists(st.tuples(st.integers(0, 3), st.text("ab", max_size=2), st.text("ab", max_size=2)), unique=True))
def test_streams_of_different_seeds_or_words_are_different(streams: list[tuple[int, str, str]]) -> None:
    seeds = {stream_seed(seed, *words) for seed, *words in streams}
    assert len(seeds) == len(streams)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_drawing_from_one_stream_leaves_another_as_it_is() -> None:
    alone = rng(0, "flip", "flip30").random(5)
    other = rng(0, "flip", "flip20")
    other.random(1000)
    after = rng(0, "flip", "flip30").random(5)
    np.testing.assert_array_equal(alone, after)
    assert abs(np.corrcoef(rng(0, "a").random(4000), rng(0, "b").random(4000))[0, 1]) < 0.1
