"""Pictures whose files cost far more than their pixels are worth: refused before the cost arises."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
from hostile_headers import jpeg_segments, png_of, scans
from mutation_kinds import base
from noisyfer.images import bounded, decode
from noisyfer.images.bounded import MAX_FILE_BYTES, MAX_SCANS, count_scans
from noisyfer.images.decode import UnreadableImage, decode_rgb, decode_whole, picture_size
from PIL import Image


def refused(source: bytes | Path) -> str:
    with pytest.raises(UnreadableImage) as caught:
        decode_rgb(source, "x.jpg")
    assert caught.value.status == "too_large"
    return caught.value.reason


@pytest.mark.parametrize("progressive", [True, False])
def test_a_jpeg_of_many_passes_is_refused(progressive: bool) -> None:
    decode_rgb(scans(64, 64, MAX_SCANS, progressive=progressive), "x.jpg")
    start = time.process_time()
    told = refused(scans(8900, 8900, 20_000, progressive=progressive))
    assert told == "it passes over its pixels more often than the 100 times allowed"
    assert time.process_time() - start < 2
    with pytest.raises(UnreadableImage):
        decode_whole(scans(640, 640, MAX_SCANS + 1, progressive=progressive), "x.jpg", 32)


def test_passes_are_counted_as_libjpeg_does() -> None:
    assert [count_scans(base("JPEG", variant)) for variant in range(0, 12, 2)] == [1] * 6
    several = base("JPEG", 3)  # progressive
    assert 1 < count_scans(several) <= 10
    assert count_scans(several + scans(8, 8, 50, progressive=True)) == count_scans(several)  # behind the end
    place = jpeg_segments(several)[0][0]
    hidden = several[:place] + b"\xff\xe1\x00\x0c" + b"\xff\xda\xff\xda\xff\xd9" + bytes(4) + several[place:]
    assert count_scans(hidden) == count_scans(several)  # inside a segment
    padded = several.replace(b"\xff\xda", b"\xff\xff\xff\xda")
    assert count_scans(padded) == count_scans(several)
    for cut in range(0, len(several), 7):
        assert count_scans(several[:cut]) <= count_scans(several)


def test_a_file_of_many_small_parts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = base("JPEG", 0)
    place = jpeg_segments(data)[0][0]
    segments = data[:place] + b"\xff\xe1\x00\x02" * 300_000 + data[place:]
    chunks = png_of(9, 9, extra=[(b"abCd", b"")] * 100_000)
    late = png_of(9, 9, extra=[(b"abCd", b"")] * 100_000, late=True)
    comment = b"P6\n#" + b"x" * 1_100_000 + b"\n2 2\n255\n" + bytes(12)
    assert decode_rgb(comment, "x.ppm").size == (2, 2)
    monkeypatch.setattr(bounded, "MAX_READS", 50_000)
    for number, made in enumerate((segments, chunks, late, comment)):
        assert len(made) > 2**20
        assert refused(made) == "it consists of too many small parts"
        (tmp_path / str(number)).write_bytes(made)
        assert refused(tmp_path / str(number)) == "it consists of too many small parts"


def test_a_file_larger_than_any_picture_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.webp"
    with path.open("wb") as stream:
        stream.write(b"RIFF\xff\xff\xff\xffWEBPVP8 ")
        stream.truncate(MAX_FILE_BYTES + 1)
    assert refused(path) == "it has 268,435,457 bytes, more than the 268,435,456 allowed"
    with pytest.raises(UnreadableImage, match="more than the"):
        picture_size(path, "x.webp")
    with path.open("wb") as stream:
        stream.write(b"P3\n9 9\n255\n")
        stream.truncate(bounded.MAX_PLAIN_BYTES + 1)
    assert "of decimal numbers" in refused(path)


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    assert refused(png_of(9, 9)) == "there is too little memory for it"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16"])
def test_pixels_do_not_depend_on_the_rows_that_are_converted_at_a_time(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    if mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 65536, (45, 61)).astype(np.uint16))
    else:
        picture = Image.fromarray(rng.integers(0, 256, (45, 61, 4), dtype=np.uint8)).convert(mode)
    stream = io.BytesIO()
    picture.save(stream, "PNG", **({"transparency": 7} if mode == "P" else {}))
    whole = np.array(decode_rgb(stream.getvalue(), "x.png"))
    monkeypatch.setattr(decode, "_BAND_PIXELS", 61 * 7)
    np.testing.assert_array_equal(np.array(decode_rgb(stream.getvalue(), "x.png")), whole)
    assert whole.std() > 10
