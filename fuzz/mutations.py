"""Thirty kinds of hostile pictures, each a function of a random stream: the same seed gives the same bytes."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from hostile_headers import (
    LARGE,
    bmp_header,
    exif_block,
    gif_frame,
    jpeg_segments,
    png_of,
    scans,
    tiff_of,
    webp_of,
)
from PIL import Image

Stream = np.random.Generator
Mutation = Callable[[Stream], bytes]

KINDS: dict[str, Mutation] = {}
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")


def kind(function: Mutation) -> Mutation:
    """List a kind under its function's name."""
    KINDS[function.__name__] = function
    return function


def mutated(name: str, number: int) -> bytes:
    """Mutation `number` of a kind."""
    return KINDS[name](np.random.default_rng([list(KINDS).index(name), number]))


@functools.cache
def base(format: str, variant: int) -> bytes:
    """A sound picture of 61×45 pixels, in one of the format's forms."""
    rng = np.random.default_rng(variant)
    smooth = np.linspace(0, 255, 61 * 45 * 3).reshape(45, 61, 3) + rng.integers(0, 30, (45, 61, 3))
    picture = Image.fromarray(smooth.clip(0, 255).astype(np.uint8))
    modes = {"JPEG": ("RGB", "L", "CMYK"), "PNG": ("RGB", "P", "RGBA", "I;16", "1", "LA"), "GIF": ("P", "L")}
    modes |= {"TIFF": ("RGB", "L", "P", "I;16", "CMYK", "F"), "WEBP": ("RGB", "RGBA"), "BMP": ("RGB", "P", "L", "1")}
    mode = modes[format][variant % len(modes[format])]
    picture = picture.convert("L").convert(mode) if mode in ("I;16", "F") else picture.convert(mode)
    options: dict[str, object] = {}
    if format == "JPEG":
        options = {"progressive": variant % 2 == 1, "exif": exif_block(variant % 8 + 1), "quality": 60}
    elif format == "WEBP":
        options = {"lossless": variant % 2 == 1, "exif": exif_block(variant % 8 + 1)}
    elif format == "TIFF" and mode in ("RGB", "L"):
        options = {
            "compression": ("tiff_lzw", "tiff_deflate", "jpeg", "packbits", "raw", "tiff_adobe_deflate")[variant % 6]
        }
    elif format == "PNG":
        options = {"exif": exif_block(variant % 8 + 1)}
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def some(rng: Stream) -> bytearray:
    """Any sound picture."""
    return bytearray(base(FORMATS[rng.integers(len(FORMATS))], int(rng.integers(12))))


def words(rng: Stream) -> bytes:
    """A number that programs trip over, of one to eight bytes, in either order of bytes."""
    length = int(rng.choice([1, 2, 4, 8]))
    numbers = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**16 - 1, 2**15, 255, 127, 2**24, 2**63, 2**64 - 1, 65500)
    value = numbers[rng.integers(len(numbers))] % 2 ** (8 * length)
    return value.to_bytes(length, "big" if rng.integers(2) else "little")


def somewhere(rng: Stream, data: bytes | bytearray, head: bool = False) -> int:
    """A place in the data, or in its first hundred bytes."""
    return int(rng.integers(max(1, min(len(data), 100) if head else len(data))))


# on any format


@kind
def bits_flipped(rng: Stream) -> bytes:
    data = some(rng)
    for _ in range(int(rng.integers(1, 20))):
        data[somewhere(rng, data)] ^= 1 << int(rng.integers(8))
    return bytes(data)


@kind
def bits_flipped_in_the_head(rng: Stream) -> bytes:
    data = some(rng)
    for _ in range(int(rng.integers(1, 5))):
        data[somewhere(rng, data, head=True)] ^= 1 << int(rng.integers(8))
    return bytes(data)


@kind
def numbers_written_anywhere(rng: Stream) -> bytes:
    data = some(rng)
    for _ in range(int(rng.integers(1, 4))):
        place, word = somewhere(rng, data, head=bool(rng.integers(2))), words(rng)
        data[place : place + len(word)] = word
    return bytes(data)


@kind
def truncated(rng: Stream) -> bytes:
    data = some(rng)
    return bytes(data[: somewhere(rng, data)])


@kind
def block_removed(rng: Stream) -> bytes:
    data = some(rng)
    place = somewhere(rng, data)
    del data[place : place + int(rng.integers(1, 200))]
    return bytes(data)


@kind
def block_repeated(rng: Stream) -> bytes:
    data = some(rng)
    place, length = somewhere(rng, data), int(rng.integers(1, 200))
    data[place:place] = data[place : place + length] * int(rng.integers(1, 500))
    return bytes(data)


@kind
def block_filled(rng: Stream) -> bytes:
    data = some(rng)
    place, length = somewhere(rng, data), int(rng.integers(1, 300))
    data[place : place + length] = bytes([rng.choice([0, 255, 128])]) * len(data[place : place + length])
    return bytes(data)


@kind
def blocks_swapped(rng: Stream) -> bytes:
    data = bytes(some(rng))
    cuts = sorted(somewhere(rng, data) for _ in range(4))
    first, second, third, fourth = cuts
    return data[:first] + data[third:fourth] + data[second:third] + data[first:second] + data[fourth:]


@kind
def noise_inserted(rng: Stream) -> bytes:
    data = some(rng)
    place = somewhere(rng, data)
    data[place:place] = rng.bytes(int(rng.integers(1, 3000)))
    return bytes(data)


@kind
def spliced(rng: Stream) -> bytes:
    format = FORMATS[rng.integers(len(FORMATS))]
    first, second = base(format, int(rng.integers(12))), base(format, int(rng.integers(12)))
    return first[: somewhere(rng, first)] + second[somewhere(rng, second) :]


@kind
def head_of_one_format_body_of_another(rng: Stream) -> bytes:
    first, second = bytes(some(rng)), bytes(some(rng))
    return first[: int(rng.integers(2, 60))] + second[int(rng.integers(0, 60)) :]


@kind
def magic_and_noise(rng: Stream) -> bytes:
    length = int(rng.choice([2, 3, 4, 8, 12, 16, 30]))
    return bytes(some(rng))[:length] + rng.bytes(int(rng.choice([0, 1, 7, 100, 5000])))


@kind
def polyglots(rng: Stream) -> bytes:
    picture = bytes(some(rng))
    others = (
        b"<html><script>alert(1)</script>",
        b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/tmp/x) (w) file\n",
        b"PK\x03\x04\x14\x00\x00\x00\x00\x00" + bytes(40),
        b"#!/bin/sh\ntouch canary\n",
        b"GIF89a/*" + bytes(20) + b"*/=1;",
        b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        b"BM",
    )
    other = others[rng.integers(len(others))]
    return (other + picture, picture + other, other + picture + other)[rng.integers(3)]


@kind
def formats_that_are_not_read(rng: Stream) -> bytes:
    starts = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n%%EndComments\n",
        b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 2**30, 2**30, 8, 3),
        b"\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x01\x00\x20\x00",
        b"icns" + struct.pack(">I", 2**31),
        b"DDS |" + bytes(120),
        b"\xd7\xcd\xc6\x9a" + bytes(40),
        b"SIMPLE  =                    T" + b" " * 2850,
        b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(60),
        b"\x00\x00\x00\x18ftypavif" + bytes(60),
        b"P6 99999 99999 255\n",
        b"P1\n# " + b"x" * 3000,
        b"Pf\n9000 9000\n-1.0\n",
        b"P3\n7 7\n65535\n" + b"1 " * 500,
        b"P5 8 8 65535\n" + bytes(128),
    )
    return starts[rng.integers(len(starts))] + rng.bytes(int(rng.integers(0, 300)))


# JPEG


@kind
def jpeg_lying_size(rng: Stream) -> bytes:
    width, height = (int(rng.choice([0, 1, 61, 3000, 8900, 65535])) for _ in range(2))
    data = bytearray(base("JPEG", int(rng.integers(12))))
    for place, marker, _ in jpeg_segments(bytes(data)):
        if 0xC0 <= marker <= 0xC2:
            data[place + 5 : place + 9] = struct.pack(">HH", height, width)
            if rng.integers(4) == 0:
                data[place + 9] = int(rng.integers(0, 6))
    return bytes(data)


@kind
def jpeg_many_scans(rng: Stream) -> bytes:
    side = int(rng.choice([64, 640, 3000])) if rng.integers(50) else 8900
    return scans(side, side, int(rng.choice([1, 5, 99, 101, 1000, 20_000])), progressive=bool(rng.integers(2)))


@kind
def jpeg_lying_segments(rng: Stream) -> bytes:
    data = bytearray(base("JPEG", int(rng.integers(12))))
    segments = jpeg_segments(bytes(data))
    for _ in range(int(rng.integers(1, 4))):
        place, _, length = segments[rng.integers(len(segments))]
        if rng.integers(2):
            data[place + 2 : place + 4] = words(rng)[:2].ljust(2, b"\0")
        else:
            data[place + 4 + int(rng.integers(max(1, length - 2)))] = int(rng.integers(256))
    return bytes(data)


@kind
def jpeg_junk_between_segments(rng: Stream) -> bytes:
    data = base("JPEG", int(rng.integers(12)))
    place = jpeg_segments(data)[0][0]
    junk = bytes([rng.choice([0, 255, 1])]) * int(rng.choice([1, 1000, 300_000]))
    many = b"".join(b"\xff\xe1\x00\x02" for _ in range(int(rng.choice([0, 10, 30_000]))))
    return data[:place] + junk + many + data[place:]


@kind
def exif_deep(rng: Stream) -> bytes:
    block = exif_block(int(rng.integers(0, 300)), rng)
    data = base("JPEG", 0)
    place = jpeg_segments(data)[0][0]
    segment = b"\xff\xe1" + struct.pack(">H", min(65535, len(block) + 8)) + b"Exif\0\0" + block[:65000]
    if rng.integers(2):
        return data[:place] + segment + data[place:]
    return png_of(8, 8, extra=[(b"eXIf", block)], late=bool(rng.integers(2)))


# PNG


@kind
def png_lying_size(rng: Stream) -> bytes:
    sizes = [0, 1, 7, 61, 3000, 8944, 65535, 2**31 - 1, 2**32 - 1]
    width, height = (int(rng.choice(sizes)) for _ in range(2))
    return png_of(
        width, height, depth=int(rng.choice([1, 8, 16, 3])), color=int(rng.choice([0, 2, 3, 4, 6, 5])), data=b"x"
    )


@kind
def png_bombs(rng: Stream) -> bytes:
    side = int(rng.choice([300, 1500])) if rng.integers(40) else LARGE
    depth, color = ((1, 0), (8, 0), (16, 0), (8, 2), (8, 6), (8, 3), (16, 2), (8, 4))[rng.integers(8)]
    return png_of(
        side,
        side,
        depth=depth,
        color=color,
        excess=float(rng.choice([0.5, 1, 1, 10])),
        interlaced=bool(rng.integers(2)),
    )


@kind
def png_chunks(rng: Stream) -> bytes:
    bomb = zlib.compress(bytes(int(rng.choice([1000, 5_000_000, 30_000_000]))), 9)
    extras: list[tuple[bytes, bytes]] = [
        (b"zTXt", b"k\0\0" + bomb),
        (b"iTXt", b"k\0\1\0\0\0" + bomb),
        (b"iCCP", b"k\0\0" + bomb),
        (b"tEXt", b"k" * 3000),
        (b"PLTE", rng.bytes(int(rng.integers(0, 900)))),
        (b"tRNS", rng.bytes(int(rng.integers(0, 300)))),
        (b"acTL", struct.pack(">II", 2**31 - 1, 0)),
        (b"fcTL", rng.bytes(26)),
        (b"IHDR", struct.pack(">IIBBBBB", 2**20, 2**20, 8, 2, 0, 0, 0)),
        (b"pHYs", rng.bytes(9)),
        (b"gAMA", b""),
        (b"IEND", b""),
        (bytes(rng.integers(0, 256, 4, dtype=np.uint8)), rng.bytes(5)),
    ]
    chosen = [extras[place] for place in rng.integers(len(extras), size=int(rng.integers(1, 6)))]
    chosen *= int(rng.choice([1, 1, 1, 50]))
    spoilt = bytes(some(rng))[:20] if rng.integers(8) == 0 else b""
    return png_of(9, 9, extra=chosen, late=bool(rng.integers(2)), color=int(rng.choice([0, 2, 3, 6]))) + spoilt


# GIF, WebP, BMP, TIFF


@kind
def gif_lying_sizes(rng: Stream) -> bytes:
    sizes = [0, 1, 60, 3000, 8900, 65535]
    screen, frame, corner = (tuple(int(rng.choice(sizes)) for _ in range(2)) for _ in range(3))
    return gif_frame(
        screen,
        frame,
        corner if rng.integers(2) else (0, 0),
        rng.bytes(int(rng.integers(0, 300))),
        int(rng.integers(0, 14)),
    )


@kind
def gif_blocks(rng: Stream) -> bytes:
    count = int(rng.choice([1, 100, 10_000]))
    blocks = (
        b"!\xfe" + (b"\xff" + b"c" * 255) * (count // 10) + b"\0",
        b"!\xf9\x04" + rng.bytes(4) + b"\0",
        b"!\xff\x0bNETSCAPE2.0\x03\x01\xff\xff\0",
        b"!\xff\x0bXMP DataXMP" + b"\x01x" * 100 + b"\0",
        b"!\x01" + b"\x05hello" + b"\0",
        b"!\xfe\0",
    )
    middle = b"".join(blocks[rng.integers(len(blocks))] for _ in range(count // 10 + 1))
    data = gif_frame((20, 20), (20, 20), (0, 0), rng.bytes(200), 8)
    place = data.index(b",", 13)
    frames = data[place:-1] * int(rng.choice([1, 1, 500]))
    return data[:place] + middle + frames + (b";" if rng.integers(2) else b"")


@kind
def webp_lying(rng: Stream) -> bytes:
    data = bytearray(base("WEBP", int(rng.integers(12))))
    chosen = int(rng.integers(5))
    if chosen == 0:
        data[24:30] = rng.choice([0, 255, 16], 6).astype(np.uint8).tobytes()
    elif chosen == 1:
        data[4:8] = words(rng)[:4].ljust(4, b"\xff")
    elif chosen == 2:
        data[16:20] = words(rng)[:4].ljust(4, b"\xff")
    elif chosen == 3:
        return webp_of(
            int(rng.choice([1, 8000, 16383, 16384, 2**24])), int(rng.choice([1, 5000, 16383])), rng.bytes(300)
        )
    data[20 + somewhere(rng, data[20:], head=True)] = int(rng.integers(256))
    return bytes(data)


@kind
def bmp_lying(rng: Stream) -> bytes:
    sizes = [0, 1, 61, -61, 3000, 8900, -8900, 2**31 - 1, -(2**31)]
    width, height = (int(rng.choice(sizes)) for _ in range(2))
    bits, compression = int(rng.choice([0, 1, 2, 4, 8, 16, 24, 32, 64])), int(rng.choice([0, 1, 2, 3, 4, 5, 6, 2**31]))
    colours = int(rng.choice([0, 2, 256, 2**20, 2**32 - 1]))
    body = rng.bytes(int(rng.integers(0, 3000)))
    if compression in (1, 2) and rng.integers(2):
        body = b"\xff\x07" * int(rng.integers(1, 40_000)) + b"\x00\x02\xff\xff" * int(rng.integers(0, 40))
    return bmp_header(width, height, bits, compression, colours, int(rng.choice([12, 40, 64, 108, 124, 16]))) + body


@kind
def tiff_lying_tags(rng: Stream) -> bytes:
    changes: dict[int, tuple[int, object]] = {}
    tags = (
        256,
        257,
        258,
        259,
        262,
        266,
        273,
        274,
        277,
        278,
        279,
        284,
        317,
        320,
        322,
        323,
        324,
        325,
        338,
        339,
        530,
        347,
    )
    for _ in range(int(rng.integers(1, 4))):
        tag = tags[rng.integers(len(tags))]
        values = (0, 1, 2, 5, 6, 7, 8, 16, 32, 255, 8900, 65535, 2**31, 2**32 - 1, 32773, 34712, 50000)
        count = int(rng.choice([1, 1, 1, 3, 1000, 2**31, 2**32 - 1]))
        changes[tag] = (count, values[rng.integers(len(values))])
    return tiff_of(
        64,
        64,
        changes=changes,
        compression=int(rng.choice([1, 2, 5, 7, 8, 32773, 32946, 50001])),
        body=rng.bytes(12288),
    )


@kind
def tiff_bombs(rng: Stream) -> bytes:
    side = int(rng.choice([300, 1500])) if rng.integers(40) else LARGE
    compression = int(rng.choice([8, 32946, 32773, 5]))
    samples, bits = ((1, 8), (3, 8), (4, 8), (1, 16), (1, 32), (3, 16), (1, 1))[rng.integers(7)]
    return tiff_of(
        side, side, compression=compression, samples=samples, bits=bits, unpacks=True, loop=int(rng.integers(3))
    )


@kind
def tiff_nested(rng: Stream) -> bytes:
    return tiff_of(
        64, 64, body=bytes(12288), loop=int(rng.integers(4)), exif=exif_block(int(rng.integers(0, 300)), rng)
    )


@kind
def several_pictures(rng: Stream) -> bytes:
    frames = [
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)) for _ in range(int(rng.integers(2, 6)))
    ]
    format = ("GIF", "WEBP", "PNG", "TIFF", "MPO")[rng.integers(5)]
    stream = io.BytesIO()
    frames[0].save(stream, format, save_all=True, append_images=frames[1:])
    data = bytearray(stream.getvalue())
    for _ in range(int(rng.integers(0, 12))):
        data[somewhere(rng, data, head=bool(rng.integers(2)))] = int(rng.integers(256))
    return bytes(data[: somewhere(rng, data)] if rng.integers(4) == 0 else data)
