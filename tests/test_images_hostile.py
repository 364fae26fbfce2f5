"""Pickles and archives that mean harm, or were damaged at random: nothing runs, a sentence comes."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import tarfile
from pathlib import Path

import cifar_files as build
import numpy as np
import pytest
from cifar_files import TINY, gunzipped, member, outcome, read_all, tar_of
from hypothesis import given, settings
from hypothesis import strategies as st
from noisyfer.core.errors import UserError
from noisyfer.images import archive
from noisyfer.images.batches import python_batch
from noisyfer.images.cifar import open_cifar10
from noisyfer.images.decode import UnreadableImage
from noisyfer.images.unpickle import BadPickle, read_pickle

ROWS = build.planes(TINY.test_images)


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call

    def __call__(self) -> None:
        """Only things that can be called may be pickled as what is called."""


def harmful(canary: Path) -> dict[str, bytes]:
    touch, code = f"touch {canary}", f"open({str(canary)!r}, 'w')"
    objects = np.empty((1, 1), dtype=object)
    objects[0, 0] = Call(os.system, touch)
    calls = {
        "system": Call(os.system, touch),
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "getattr chain": Call(Call(getattr, Call(__import__, "os"), "system"), touch),
        "process": Call(subprocess.Popen, ["touch", str(canary)]),
        "nested": [{"a": (1, [Call(os.system, touch)])}],
        "objects": objects,
    }
    pickles = {}
    for name, call in calls.items():
        for protocol in range(6):
            pickles[f"{name}, protocol {protocol}"] = pickle.dumps({b"data": call, b"labels": [1]}, protocol)
    text = touch.encode()
    pickles["inst"] = b"\x80\x02(X" + struct.pack("<I", len(text)) + text + b"ios\nsystem\n."
    pickles["obj"] = b"\x80\x02(cos\nsystem\nX" + struct.pack("<I", len(text)) + text + b"o."
    pickles["numpy's own"] = b"\x80\x02cnumpy.testing._private.utils\nrunstring\nU\x01xU\x01y\x86R."
    pickles["call the array"] = b"\x80\x02cnumpy\nndarray\nK\x01\x85R."
    pickles["names with texts inside"] = b"\x80\x04\x8c\x06numpy.\x8c\x05dtype\x93."
    pickles["extension"] = b"\x80\x02\x82\x01."
    pickles["persistent"] = b"\x80\x02K\x01Q."
    return pickles


def test_harmful_pickles_are_refused_and_run_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickles = harmful(canary)
    for name, data in pickles.items():
        with pytest.raises(UserError, match=r"^Cannot read some/batch: .* it was refused") as caught:
            python_batch(data, "some/batch")
        assert "nothing in it was run" in str(caught.value), name
        assert not canary.exists(), name
    assert "asks for posix.system" in str(refusal(pickles["system, protocol 2"]))
    assert "asks for builtins.eval" in str(refusal(pickles["eval, protocol 4"]))
    assert "INST to call os.system" in str(refusal(pickles["inst"]))
    pickle.loads(pickles["system, protocol 2"])  # the canary does sing where the pickle is run
    assert canary.exists()


def refusal(data: bytes) -> BadPickle:
    with pytest.raises(BadPickle) as caught:
        read_pickle(data)
    return caught.value


def test_claims_without_substance_take_no_memory() -> None:
    rows = np.zeros((2, 3), np.uint8)
    good = pickle.dumps({"data": rows}, 2)
    assert read_pickle(good)["data"].shape == (2, 3)
    shape = b"K\x02K\x03\x86"
    assert shape in good
    huge = b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
    assert "claims 2,147,483,647×2,147,483,647 values but has 6" in str(refusal(good.replace(shape, huge)))
    assert "two axes" in str(refusal(good.replace(shape, b"K\x06\x85")))
    assert "two axes" in str(refusal(good.replace(shape, b"J\xfe\xff\xff\xffJ\xfd\xff\xff\xff\x86")))
    assert "two axes" in str(refusal(pickle.dumps({"data": np.asfortranarray(rows)}, 2)))
    for kind in (np.float64, "S1", "i1", [("a", "u1")], "M8[s]"):
        assert "uint8" in str(refusal(pickle.dumps({"data": np.zeros((2, 3), kind)}, 2)))
    for data in (
        b"\x80\x04K\x01r\xf0\xff\xff\xff.",  # a memo index of four thousand million
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",  # a byte array of a terabyte
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x02\x8b\xff\xff\xff\x7f1.",
        b"\x80\x02" + b"]\x94" * 50 + b".",
        b"\x80\x02" + b"(" * 20_000 + b"t" * 20_000 + b".",
        b"\x80\x02" + b")" + b"\x85" * 20_000 + b".",
        b"\x80\x04]\x94" + b"h\x00h\x00\x86\x94" * 40 + b"\x93.",
        b"",
        b".",
        b"\x80\x02}u.",
        b"\x80\x02}(K\x01K\x02u.",
        b"\x80\x02K\x01(K\x02e.",
        b"no pickle",
    ):
        refusal(data)


def test_archive_members_that_lead_elsewhere_are_not_seen(tmp_path: Path, monkeypatch) -> None:
    folder = build.write_python(tmp_path / "real", TINY)
    batches = [member(f"./c/{entry.name}", entry.read_bytes()) for entry in sorted(folder.iterdir())]
    secret = tmp_path / "secret"
    secret.write_text("x")
    elsewhere = [
        member("../evil", b"x"),
        member("/abs/test_batch", b"x"),
        member("a/../../test_batch", b"x"),
        member("z/data_batch_1", b"", tarfile.SYMTYPE, str(secret)),
        member("z/data_batch_2", b"", tarfile.LNKTYPE, "c/data_batch_2"),
        member("z/test_batch", b"", tarfile.CHRTYPE),
        member("z/data_batch_3", b"", tarfile.FIFOTYPE),
    ]
    before = sorted(tmp_path.rglob("*"))
    path = tar_of([*elsewhere, *batches, *elsewhere], tmp_path / "a.tar.gz")
    cifar = open_cifar10(path)
    np.testing.assert_array_equal(cifar.labels("test"), TINY.test_labels)
    assert cifar.references("train")[0] == "c/data_batch_1#0"
    np.testing.assert_array_equal(read_all(path, cifar.references("train")), TINY.train_images)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])  # nothing was unpacked to disk

    with pytest.raises(UnreadableImage, match="no such file in the archive"):
        read_all(path, ["z/data_batch_1#0"])
    only_links = [entry for entry in batches if entry[0].name != "./c/test_batch"]
    path = tar_of([*only_links, member("c/test_batch", b"", tarfile.SYMTYPE, "data_batch_1")], tmp_path / "b.tar.gz")
    with pytest.raises(UserError, match="lacks test_batch"):
        open_cifar10(path)
    path = tar_of([*batches, batches[1]], tmp_path / "c.tar.gz")
    with pytest.raises(UserError, match="twice"):
        open_cifar10(path)


def test_archives_that_unpack_to_too_much_are_stopped(tmp_path: Path, monkeypatch) -> None:
    bomb = tar_of([member("x", bytes(200_000)), member("c/test_batch", bytes(200_000))], tmp_path / "a.tar.gz")
    monkeypatch.setattr(archive, "MAX_ARCHIVE_BYTES", 100_000)
    with pytest.raises(UserError, match="more than the 100,000 bytes"):
        open_cifar10(bomb)
    monkeypatch.undo()
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 100_000)
    with pytest.raises(UserError, match=r"'c/test_batch' claims 200,000 bytes"):
        open_cifar10(bomb)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3))
def test_damaged_archives_give_data_or_a_sentence(tmp_path_factory, changes: list[tuple[int, int]]) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    data = bytearray(
        gunzipped(tar_of([member("c/test_batch", b"abc"), member("c/x", b"x")], root / "a.tar.gz")).read_bytes()
    )
    for position, value in changes:
        data[position % 2560] = value
    (root / "a.tar").write_bytes(data)
    found = outcome(lambda: dict(archive.members(root / "a.tar", lambda name: name == "c/test_batch")))
    assert "a.tar" in str(found) if isinstance(found, UserError) else set(found) <= {"c/test_batch"}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4), st.sampled_from([None, 2, 5]))
def test_damaged_pickles_give_a_batch_or_a_sentence(changes: list[tuple[int, int]], protocol: int | None) -> None:
    entries = {"labels": [1, 2, 3, 4], "data": ROWS, "filenames": ["a"]}
    data = bytearray(build.python2_pickle(entries) if protocol is None else pickle.dumps(entries, protocol))
    for position, value in changes:
        # Most of a batch is pixels, which cannot be wrong; so the changes fall on either end.
        data[(position % 200) - 100] = value
    found = outcome(lambda: python_batch(bytes(data), "f"))
    assert str(found).startswith("Cannot read f") if isinstance(found, UserError) else len(found.labels) >= 1
