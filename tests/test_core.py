"""Registries, named streams, configuration, errors, and files that are whole or not there."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noisyfer.core.config import check, option, options, parse_settings, to_dict, with_settings
from noisyfer.core.errors import UserError, first_line, unknown_name
from noisyfer.core.files import (
    read_json,
    remove_leftovers,
    sha256_file,
    temporary_sibling,
    whole_file,
    whole_folder,
    write_json,
)
from noisyfer.core.registry import Registry
from noisyfer.core.streams import rng, stream_seed


def sentence(error: pytest.ExceptionInfo[UserError]) -> str:
    """The message of an error that a person reads: one line that ends with a full stop."""
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


# ---- registry and names


def test_a_registry_gives_back_what_was_registered_and_lists_names_in_order() -> None:
    registry: Registry[type] = Registry("method")

    @registry.register("zeta")
    class Zeta:
        pass

    @registry.register("alpha")
    class Alpha:
        pass

    assert registry["zeta"] is Zeta
    assert registry["alpha"] is Alpha
    assert list(registry) == ["alpha", "zeta"]
    assert len(registry) == 2
    assert "zeta" in registry
    assert "beta" not in registry


def test_a_name_cannot_be_registered_twice() -> None:
    registry: Registry[int] = Registry("method")
    registry.register("one")(1)
    with pytest.raises(ValueError, match="method 'one' is registered twice: 1 and 2"):
        registry.register("one")(2)
    assert registry["one"] == 1


def test_an_unknown_name_is_answered_with_all_names_and_the_nearest() -> None:
    registry: Registry[int] = Registry("method")
    for number, name in enumerate(("vgg-all", "proposed", "co-teaching")):
        registry.register(name)(number)
    with pytest.raises(UserError) as error:
        registry["propsed"]
    assert sentence(error) == (
        "There is no method named 'propsed'. Did you mean 'proposed'? Known: co-teaching, proposed, vgg-all."
    )


def test_a_name_that_resembles_nothing_gets_no_suggestion() -> None:
    assert str(unknown_name("split", "zzz", ("train", "test"))) == "There is no split named 'zzz'. Known: test, train."
    assert str(unknown_name("split", "train", ())) == "There is no split named 'train'. Known: none."


def test_the_first_line_of_an_error_never_is_empty() -> None:
    assert first_line(ValueError("one.\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"


# ---- random streams


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


# ---- configuration


@dataclass(frozen=True)
class Config:
    """An example."""

    epochs: int = option(200, "passes over the data", low=1, high=10_000)
    rate: float = option(0.1, "learning rate", above=0)
    lambda_: float = option(0.8, "weight of the adversarial part", low=0)
    shape: Literal["round", "square"] = option("round", "form", choices=("round", "square"))
    internal: int = 3


def test_options_have_public_names_and_only_options_are_shown() -> None:
    assert list(options(Config)) == ["epochs", "rate", "lambda", "shape"]
    assert to_dict(Config(lambda_=0.3)) == {"epochs": 200, "rate": 0.1, "lambda": 0.3, "shape": "round"}


def test_settings_are_read_from_text_and_the_rest_stays() -> None:
    settings = parse_settings(["epochs=5", " lambda = 0.5", "rate=1e-4", "shape=square"])
    changed = with_settings(Config(), settings)
    assert changed == Config(epochs=5, lambda_=0.5, rate=1e-4, shape="square")
    assert type(changed.epochs) is int
    assert parse_settings(["file=a=b"]) == {"file": "a=b"}


@given(st.integers(1, 10_000), st.floats(1e-300, 1e300), st.floats(0, 1e300), st.sampled_from(["round", "square"]))
def test_any_configuration_survives_being_shown_as_text_and_read_again(
    epochs: int, rate: float, weight: float, shape: Literal["round", "square"]
) -> None:
    config = Config(epochs=epochs, rate=rate, lambda_=weight, shape=shape)
    assert with_settings(Config(), {name: str(value) for name, value in to_dict(config).items()}) == config
    assert with_settings(Config(), to_dict(config)) == config


@pytest.mark.parametrize("text", ["epochs", "=5", " = 5", ""])
def test_a_setting_that_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(UserError) as error:
        parse_settings([text])
    assert f"'{text}'" in sentence(error)
    assert "key=value" in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", "0", "at least 1"),
        ("epochs", "-3", "at least 1"),
        ("epochs", "10001", "at most 10000"),
        ("epochs", "9" * 400, "at most 10000"),
        ("epochs", "9" * 5000, "a whole number"),
        ("epochs", "1.5", "a whole number"),
        ("epochs", 1.5, "a whole number"),
        ("epochs", math.nan, "a whole number"),
        ("epochs", math.inf, "a whole number"),
        ("epochs", True, "a whole number"),
        ("epochs", None, "a whole number"),
        ("epochs", "many", "a whole number"),
        ("epochs", "", "a whole number"),
        ("rate", "0", "greater than 0"),
        ("rate", "-1e-4", "greater than 0"),
        ("rate", "nan", "a finite number"),
        ("rate", "inf", "a finite number"),
        ("rate", 10**400, "a number"),
        ("rate", False, "a number"),
        ("rate", [0.1], "a number"),
        ("lambda", "-0.1", "at least 0"),
        ("lambda", "-inf", "a finite number"),
        ("lambda", "NaN", "a finite number"),
        ("shape", "oval", "round, square"),
        ("shape", None, "round, square"),
    ],
)
def test_a_value_that_is_not_allowed_is_answered_with_what_is(name: str, value: Any, expected: str) -> None:
    with pytest.raises(UserError) as error:
        with_settings(Config(), {name: value})
    assert name in sentence(error)
    assert expected in str(error.value)


def test_limits_themselves_are_allowed() -> None:
    changed = with_settings(Config(), {"epochs": 10_000.0, "lambda": "0", "rate": "5e-324"})
    assert changed == Config(epochs=10_000, lambda_=0.0, rate=5e-324)
    check(Config(epochs=1))
    with pytest.raises(UserError, match="epochs is 0"):
        check(Config(epochs=0))


def test_an_unknown_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError) as error:
        with_settings(Config(), {"epoch": "5"})
    assert sentence(error) == (
        "There is no option named 'epoch'. Did you mean 'epochs'? Known: epochs, lambda, rate, shape."
    )
    with pytest.raises(UserError, match="no option named 'internal'"):
        with_settings(Config(), {"internal": "5"})


# ---- files


def test_a_whole_file_appears_at_the_end_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file.txt"
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut could leave an empty file under the final name."""
    flushed: list[int] = []

    def fsync(handle: int) -> None:
        assert not (tmp_path / "file").exists()
        assert not (tmp_path / "folder").exists()
        flushed.append(os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    with whole_folder(tmp_path / "folder") as temporary:
        fill(temporary, "x")
        (temporary / "second").touch()
    (tmp_path / "folder").rename(tmp_path / "away")
    inside = [tmp_path / "away" / "inside" / "file", tmp_path / "away" / "second"]
    assert sorted(flushed) == sorted(file.stat().st_ino for file in inside)
    with whole_file(tmp_path / "file") as temporary:
        temporary.touch()
    assert flushed[2:] == [(tmp_path / "file").stat().st_ino]


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt(), UserError("A sentence.")])
def test_a_failure_while_writing_a_file_leaves_the_old_one(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(type(failure)):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    for whole in (whole_file, whole_folder):
        with pytest.raises(UserError) as error, whole(tmp_path / "big"):
            raise OSError(number, os.strerror(number))
        assert "the disk is full" in sentence(error)
        assert str(tmp_path / "big") in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    for whole in (whole_file, whole_folder):
        for place in ("file/below", "file/below/deep", ".", "..", "/", "folder/..", "x" * 300):
            with pytest.raises(UserError) as error, whole(Path(place)) as temporary:
                temporary.write_text("never")
            assert str(Path(place)) in sentence(error)
    with pytest.raises(UserError, match="it is a folder"), whole_file(tmp_path / "folder"):
        raise AssertionError("a job must not start when its result has no place")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_one_may_not_write_to_is_a_sentence(tmp_path: Path) -> None:
    """As root, permission bits do not bind: the system's answer is played."""
    with pytest.raises(UserError) as error, whole_file(tmp_path / "file"):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert "Permission denied" in sentence(error)
    assert "permissions" in str(error.value)


def fill(folder: Path, text: str) -> None:
    (folder / "inside").mkdir()
    (folder / "inside" / "file").write_text(text)


def test_a_whole_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    for text in ("first", "second"):
        with whole_folder(path) as temporary:
            fill(temporary, text)
            (temporary / text).touch()
        assert (path / "inside" / "file").read_text() == text
        assert sorted(entry.name for entry in path.iterdir()) == sorted(["inside", text])
        assert list(path.parent.iterdir()) == [path]


def test_a_failure_while_filling_a_folder_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with whole_folder(path) as temporary:
        fill(temporary, "old")

    def refill() -> None:
        with whole_folder(path) as temporary:
            fill(temporary, "new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refill()
    assert (path / "inside" / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    path = tmp_path / "folder"
    with whole_folder(path) as temporary:
        fill(temporary, "old")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if (self / "new").exists():
            raise failure
        return rename(self, target)

    def refill() -> None:
        with whole_folder(path) as temporary:
            (temporary / "new").touch()

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises((UserError, KeyboardInterrupt)):
        refill()
    assert (path / "inside" / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = [tmp_path / "file.txt", tmp_path / ".hidden", tmp_path / "x.tmp-1"]
    for path in (*kept, temporary_sibling(tmp_path / "a"), temporary_sibling(tmp_path / "b")):
        path.touch()
    assert remove_leftovers(tmp_path) == 2
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert remove_leftovers(tmp_path / "not there") == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("aé", max_size=3), inner, max_size=3),
    max_leaves=10,
)


def finite(value: Any) -> Any:
    """What JSON can hold of a value, by the definition."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_json_comes_back_as_it_was_but_nan_and_infinity_become_null(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.json"
        write_json(path, value)
        assert json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail) == finite(value)
        assert read_json(path) == finite(value)


def test_a_json_file_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"näme": [1, 2.5, math.nan, -math.inf], "t": (1, 2)})
    assert read_json(path) == {"näme": [1, 2.5, None, None], "t": [1, 2]}
    assert "näme" in path.read_text(encoding="utf-8")
    with pytest.raises(TypeError):
        write_json(path, {"array": np.zeros(2)})
    assert read_json(path)["t"] == [1, 2]


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000], ids=range(6))
def test_a_file_that_is_no_json_is_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_json(path)
    assert str(path) in sentence(error)


def test_the_hash_of_several_files_is_that_of_their_bytes_in_order(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"a" * 3_000_000)
    second.write_bytes(b"b")
    assert sha256_file(first) == hashlib.sha256(b"a" * 3_000_000).hexdigest()
    assert sha256_file(first, second) == hashlib.sha256(b"a" * 3_000_000 + b"b").hexdigest()
    assert sha256_file(second, first) == hashlib.sha256(b"b" + b"a" * 3_000_000).hexdigest()
