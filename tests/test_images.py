"""Images: references, the reader, decoding, the digits."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cifar_files as build
import numpy as np
import pyarrow.parquet as pq
import pytest
from cifar_files import LAYOUTS, TINY, encoded, member, outcome, read_all, tar_of
from hypothesis import given, settings
from hypothesis import strategies as st
from noisyfer.core.errors import UserError
from noisyfer.images import dataset, decode, digits
from noisyfer.images.batches import CLASSES
from noisyfer.images.cifar import open_cifar10
from noisyfer.images.decode import UnreadableImage, decode_rgb
from noisyfer.images.reader import read_images
from PIL import Image

# ---- references and the reader


ABSOLUTE = ["/etc/passwd", "//host/a", "C:/a.jpg", "c:a.jpg", "/f.parquet#1", "\\\\host\\a#1"]
UPWARDS = ["../a.jpg", "a/../../b.jpg", "a/..", "..\\a.jpg", "a\\b.jpg", "../f.parquet#1", "a/../f#1"]


@pytest.mark.parametrize("reference", ["", ".", "a\0b", *ABSOLUTE, *UPWARDS])
def test_references_that_could_leave_the_root_are_refused_at_once(reference: str, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(build.png(TINY.test_images[0]))
    with pytest.raises(UserError, match="was refused"):
        read_images(tmp_path / "root", ["fine.jpg", reference], 32)


def test_links_may_stay_in_the_root_but_not_leave_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (tmp_path / "root2").mkdir()
    for path in (root / "a" / "in.png", tmp_path / "root2" / "out.png"):
        path.write_bytes(build.png(TINY.test_images[0]))
    (root / "near.png").symlink_to("a/in.png")
    (root / "far.png").symlink_to(tmp_path / "root2" / "out.png")
    (root / "b").symlink_to(tmp_path / "root2")
    (root / "loop.png").symlink_to("loop.png")
    (tmp_path / "linked").symlink_to(root)
    np.testing.assert_array_equal(read_all(tmp_path / "linked", ["near.png"])[0], TINY.test_images[0])
    for reference in ("far.png", "b/out.png"):
        with pytest.raises(UserError, match="outside the dataset's root"):
            read_all(root, [reference])
    for reference, said in (("loop.png", "no such file"), ("a", "no file"), ("x" * 300, "cannot be opened")):
        with pytest.raises(UnreadableImage, match=said):
            read_all(root, [reference])
    os.mkfifo(root / "pipe.png")
    with pytest.raises(UnreadableImage, match="device"):
        read_all(root, ["pipe.png"])


@pytest.mark.parametrize("layout", ["python", "python archive", "binary", "parquet in shards"])
@pytest.mark.parametrize("length", [1, 3, 2048])
def test_any_rows_in_any_order_as_often_as_wanted(layout: str, length: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(dataset, "CHUNK_IMAGES", length)
    cifar = open_cifar10(LAYOUTS[layout](tmp_path))
    references, truth = cifar.references("train") + cifar.references("test"), np.r_[TINY.train_images, TINY.test_images]
    chosen = np.random.default_rng(0).integers(0, len(truth), 40)
    chosen[:5] = chosen[0]
    np.testing.assert_array_equal(read_all(cifar.root, [references[row] for row in chosen]), truth[chosen])
    wanted = [references[row] for row in chosen]
    assert max(len(positions) for positions, _ in read_images(cifar.root, wanted, 32)) <= length


def test_plain_files_packed_files_and_digits_in_one_list(tmp_path: Path) -> None:
    plain = tmp_path / "103" / "a#b.png"
    plain.parent.mkdir()
    plain.write_bytes(build.png(TINY.test_images[1]))
    cifar = open_cifar10(build.write_binary(tmp_path, TINY))
    references = ["digits#3", "103/a#b.png", cifar.references("train")[7], "./103//a#b.png", "digits#3"]
    images = read_all(cifar.root, references)
    np.testing.assert_array_equal(images[[1, 3]], TINY.test_images[[1, 1]])
    np.testing.assert_array_equal(images[2], TINY.train_images[7])
    np.testing.assert_array_equal(images[[0, 4]], digits.digit_pixels(np.array([3, 3])))
    assert list(read_images(tmp_path / "nowhere", [], 32)) == []
    read_all(tmp_path / "nowhere", ["digits#0"])
    packed = tar_of([member("x/a.png", build.png(TINY.test_images[2]))], tmp_path / "p.tar.gz")
    np.testing.assert_array_equal(read_all(packed, ["x/a.png"])[0], TINY.test_images[2])


def test_rows_and_files_that_are_not_there(tmp_path: Path) -> None:
    for layout in ("python", "binary", "parquet"):
        cifar = open_cifar10(LAYOUTS[layout](tmp_path / layout))
        beyond = cifar.references("test")[0].replace("#0", "#4")
        with pytest.raises(UnreadableImage, match=r"#4'.*has 4 images, 0 to 3") as caught:
            read_all(cifar.root, [beyond])
        assert caught.value.reference == beyond
    with pytest.raises(UnreadableImage, match="1,797 images"):
        read_all(tmp_path, ["digits#1797"])
    with pytest.raises(UnreadableImage, match="no such file"):
        read_all(tmp_path, ["none.jpg"])
    with pytest.raises(UserError, match="no folder or archive"):
        read_all(tmp_path / "nowhere", ["none.jpg"])
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="no packed file"):
        read_all(tmp_path, ["a.jpg#1"])
    with pytest.raises(UserError, match="size is 0"):
        read_images(tmp_path, [], 0)


def test_row_groups_without_a_wanted_row_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pictures = [b"broken"] * 4 + [build.png(image) for image in TINY.test_images]
    pq.write_table(build.parquet_table(pictures, [0] * 8, CLASSES), path, row_group_size=4)
    whole = path.read_bytes()
    offset = whole.index(b"broken")
    path.write_bytes(whole[: offset - 20] + bytes(20) + whole[offset:])  # the first group cannot even be read
    np.testing.assert_array_equal(read_all(tmp_path, ["f.parquet#5", "f.parquet#4"]), TINY.test_images[[1, 0]])
    with pytest.raises(UserError):
        read_all(tmp_path, ["f.parquet#1"])


def test_other_sizes_are_pillows_bicubic(tmp_path: Path) -> None:
    wide = np.random.default_rng(0).integers(0, 256, (20, 50, 3), dtype=np.uint8)
    (tmp_path / "wide.png").write_bytes(build.png(wide))
    expected = np.asarray(Image.fromarray(wide).resize((24, 24), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(read_all(tmp_path, ["wide.png"], 24)[0], expected)
    for layout in ("python", "parquet"):
        cifar = open_cifar10(LAYOUTS[layout](tmp_path / layout))
        half = read_all(cifar.root, cifar.references("test"), 16)
        shrunk = [
            np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.BICUBIC)) for image in TINY.test_images
        ]
        np.testing.assert_array_equal(half, shrunk)


# ---- decoding


def palette(transparent: bool) -> bytes:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30] + [0] * 756)
    return encoded(image, transparency=1) if transparent else encoded(image)


MODES = [
    (encoded(Image.new("1", (2, 2), 1)), (255, 255, 255)),
    (encoded(Image.new("L", (2, 2), 100)), (100, 100, 100)),
    (encoded(Image.new("L", (2, 2), 100), transparency=100), (0, 0, 0)),
    (encoded(Image.new("LA", (2, 2), (100, 51))), (20, 20, 20)),
    (palette(False), (10, 20, 30)),
    (palette(True), (0, 0, 0)),
    (encoded(Image.new("RGBA", (2, 2), (200, 100, 50, 51))), (40, 20, 10)),
    (encoded(Image.new("RGB", (2, 2), (9, 8, 7)), transparency=(9, 8, 7)), (0, 0, 0)),
    (encoded(Image.new("CMYK", (2, 2), (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
    (encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100), (255, 0, 0)),
    (encoded(Image.new("I;16", (2, 2), 65535)), (255, 255, 255)),
    (encoded(Image.new("I;16", (2, 2), 257 * 100 + 128)), (100, 100, 100)),
    (encoded(Image.new("I;16", (2, 2), 257 * 100 + 129)), (101, 101, 101)),
    (encoded(Image.new("I;16B", (2, 2), 257 * 100), "TIFF"), (100, 100, 100)),
    (encoded(Image.new("I", (2, 2), 257 * 100), "TIFF"), (100, 100, 100)),
    (encoded(Image.new("RGB", (2, 2), (1, 2, 3)), "BMP"), (1, 2, 3)),
    (encoded(Image.new("RGB", (2, 2), (1, 2, 3)), "WEBP", lossless=True), (1, 2, 3)),
    (
        encoded(Image.new("L", (2, 2), 77), "GIF", append_images=[Image.new("L", (2, 2))], save_all=True),
        (77, 77, 77),
    ),
    (encoded(Image.new("L", (2, 2), 77), "PPM"), (77, 77, 77)),
]


@pytest.mark.parametrize(("data", "colour"), MODES, ids=map(str, range(len(MODES))))
def test_odd_modes_become_rgb(data: bytes, colour: tuple[int, int, int]) -> None:
    image = decode_rgb(data, "x")
    assert image.mode == "RGB"
    lossy = 2 if data.startswith(b"\xff\xd8") else 0
    assert np.abs(np.asarray(image).astype(int) - colour).max() <= lossy


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_exif_rotation_is_applied_and_broken_exif_is_not_fatal() -> None:
    left_white = Image.new("RGB", (32, 16))
    left_white.paste((255, 255, 255), (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise: what was left comes to the top
    turned = np.asarray(decode_rgb(encoded(left_white, "JPEG", quality=100, exif=exif), "x"))
    assert turned.shape == (32, 16, 3)
    assert turned[:14].min() > 240
    assert turned[18:].max() < 15
    broken = encoded(left_white, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")
    assert decode_rgb(broken, "x").size == (32, 16)


def with_size(png: bytes, width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no image in one of the formats JPEG"),
        (b"hello", "no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "no image"),
        (encoded(Image.new("RGB", (64, 64), (9, 9, 9)), "JPEG")[:-30], "damaged"),
        (build.png(TINY.test_images[0])[:-800], "damaged"),
        (with_size(build.png(TINY.test_images[0]), 60_000, 60_000), "more pixels than the 80,000,000 allowed"),
        (encoded(Image.new("F", (2, 2), 0.5), "TIFF"), "floating-point"),
        (encoded(Image.new("I", (2, 2), 70_000), "TIFF"), "more than 16 bits"),
    ],
)
def test_what_cannot_be_decoded_names_the_reference(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "one.img").write_bytes(data)
    with pytest.raises(UnreadableImage, match=said) as caught:
        read_all(tmp_path, ["one.img"])
    assert caught.value.reference == "one.img"
    assert "'one.img'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_limit_on_pixels_counts_them_all(monkeypatch) -> None:
    data = build.png(np.zeros((10, 11, 3), np.uint8))
    monkeypatch.setattr(decode, "MAX_PIXELS", 110)
    assert decode_rgb(data, "x").size == (11, 10)
    monkeypatch.setattr(decode, "MAX_PIXELS", 109)
    with pytest.raises(UnreadableImage, match="109 allowed"):
        decode_rgb(data, "x")


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=5),
)
def test_damaged_images_decode_or_say_so(kind: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(encoded(Image.fromarray(TINY.test_images[0]), kind))
    for position, value in changes:
        data[position % len(data)] = value
    found = outcome(lambda: decode_rgb(bytes(data), "x"))
    assert found.reference == "x" if isinstance(found, UnreadableImage) else found.mode == "RGB"


# ---- digits


def test_digits_are_split_once_and_for_all() -> None:
    both = digits.Digits()
    train, test = digits.split_rows("train"), digits.split_rows("test")
    assert (len(train), len(test)) == (1438, 359)
    assert set(train) | set(test) == set(range(1797))
    assert test[:8].tolist() == [3, 5, 18, 28, 31, 42, 43, 58]
    every, ours = np.bincount(digits.digit_labels()), np.bincount(both.labels("test"))
    np.testing.assert_array_equal(ours, np.round(every / 5))
    assert both.references("test")[0] == "digits#3"
    for split in ("train", "test"):
        images = np.concatenate(list(both.images(split)))
        assert images.shape == (len(both.labels(split)), 32, 32, 3)
        np.testing.assert_array_equal(images, read_all(both.root, both.references(split)))
    assert both.fingerprint() == digits.Digits().fingerprint()
    with pytest.raises(UserError, match="split"):
        both.labels("val")


def test_digits_show_the_scans() -> None:
    from sklearn.datasets import load_digits

    scans = load_digits().images
    pixels = digits.digit_pixels(np.arange(len(scans)))
    blocks = pixels[..., 0].reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
    assert np.corrcoef(blocks.ravel(), scans.ravel())[0, 1] > 0.99
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert (pixels == pixels[..., :1]).all()
    np.testing.assert_array_equal(digits.digit_labels(), load_digits().target)


def test_imports_stay_light() -> None:
    code = (
        "import sys, noisyfer.images.cifar, noisyfer.images.reader, noisyfer.images.digits\n"
        "print(*{'torch', 'pandas', 'pyarrow', 'PIL', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
