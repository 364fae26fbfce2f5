"""Files of pictures put together byte by byte, so that their heads can say what no encoder would write."""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LARGE = 8944
"""A square just below the pixels that are allowed (79,995,136)."""


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG with its right checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@functools.lru_cache(maxsize=32)
def zeros(length: int) -> bytes:
    """So many zeros, packed by deflate, without holding them all."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(min(2**20, length - start))) for start in range(0, length, 2**20)]
    return b"".join([*parts, packer.flush()])


def png_of(
    width: int,
    height: int,
    *,
    depth: int = 8,
    color: int = 2,
    excess: float = 1.0,
    interlaced: bool = False,
    data: bytes | None = None,
    extra: Sequence[tuple[bytes, bytes]] = (),
    late: bool = False,
) -> bytes:
    """A PNG of zeros with `excess` times the pixels that it claims, and further chunks before or behind them."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(color, 1)
    if data is None:
        data = zeros(int(((width * samples * depth + 7) // 8 + 1) * height * excess))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced)))
    palette = chunk(b"PLTE", bytes(range(48))) if color == 3 else b""
    others = b"".join(chunk(name, content) for name, content in extra)
    pixels = chunk(b"IDAT", data)
    middle = pixels + others if late else others + pixels
    return b"\x89PNG\r\n\x1a\n" + head + palette + middle + chunk(b"IEND", b"")


def jpeg_segments(data: bytes) -> list[tuple[int, int, int]]:
    """Place, marker and length of each segment before the pixels."""
    found, place = [], 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        found.append((place, marker, length))
        if marker == 0xDA:
            break
        place += 2 + length
    return found


def scans(width: int, height: int, count: int, *, progressive: bool) -> bytes:
    """A JPEG of three components whose pixels come in `count` empty passes over the whole picture."""
    tables = b"".join(b"\xff\xc4\x00\x14" + bytes([kind]) + b"\x01" + bytes(15) + b"\x00" for kind in (0x00, 0x10))
    frame = struct.pack(">BHHB", 8, height, width, 3) + b"\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    head = b"\xff\xd8\xff\xdb\x00\x43\x00" + b"\x01" * 64 + b"\xff" + (b"\xc2" if progressive else b"\xc0")
    parts = [head + struct.pack(">H", len(frame) + 2) + frame + tables]
    if progressive:
        parts.append(b"\xff\xda\x00\x0c\x03\x01\x00\x02\x00\x03\x00\x00\x00\x00\x00")
        parts += [b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00\x00"] * (count - 1)
    else:
        parts += [b"\xff\xda\x00\x08\x01" + bytes([1 + place % 3]) + b"\x00\x00\x3f\x00\x00" for place in range(count)]
    return b"".join(parts) + b"\xff\xd9"


def exif_block(orientation: int, rng: np.random.Generator | None = None) -> bytes:
    """EXIF with an orientation; with a stream, directories that lead into each other and entries that lie."""
    entries = [(0x0112, 3, 1, struct.pack("<HH", orientation % 65536, 0))]
    if rng is not None:
        for _ in range(int(rng.choice([1, 5, 300, 4000]))):
            tag = int(rng.choice([0x8769, 0x8825, 0xA005, 0x014A, 0x0111, 0x927C, 0x9286, 0x0100, 0x0112]))
            target = int(rng.choice([0, 8, 10, 2**31, 2**32 - 1, 100]))
            entries.append(
                (tag, int(rng.integers(0, 14)), int(rng.choice([0, 1, 7, 2**16, 2**32 - 1])), struct.pack("<I", target))
            )
        if rng.integers(2):
            entries.append(entries.pop(0))
    body = b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    following = 8 if rng is not None and rng.integers(2) else 0  # a directory that follows itself
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + struct.pack("<I", following)


def gif_frame(
    screen: tuple[int, ...], frame: tuple[int, ...], corner: tuple[int, ...], data: bytes, bits: int
) -> bytes:
    """A GIF of one frame."""
    head = b"GIF89a" + struct.pack("<HH", *screen) + b"\xf7\0\0" + bytes(768)
    body = b"," + struct.pack("<HHHH", *corner, *frame) + b"\0" + bytes([bits])
    parts = b"".join(bytes([len(part)]) + part for part in (data[at : at + 255] for at in range(0, len(data), 255)))
    return head + body + parts + b"\0;"


def webp_of(width: int, height: int, pixels: bytes) -> bytes:
    """A WebP whose canvas is larger than its picture."""
    canvas = b"\x10\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    size = (min(width, 16384) - 1) | (min(height, 16384) - 1) << 14
    lossless = b"\x2f" + struct.pack("<I", size) + pixels
    body = b"VP8X" + struct.pack("<I", 10) + canvas + b"VP8L" + struct.pack("<I", len(lossless)) + lossless
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def bmp_header(width: int, height: int, bits: int, compression: int, colours: int, length: int) -> bytes:
    """The head of a BMP."""
    told = struct.pack("<IiiHHIIiiII", length, width, height, 1, bits, compression, 0, 0, 0, colours, 0)
    return b"BM" + struct.pack("<IHHI", 2**20, 0, 0, 14 + length) + told.ljust(length, b"\0")[: max(12, length)]


def tiff_of(
    width: int,
    height: int,
    *,
    compression: int = 1,
    samples: int = 3,
    bits: int = 8,
    body: bytes = b"",
    unpacks: bool = False,
    changes: Mapping[int, tuple[int, Any]] | None = None,
    loop: int = 0,
    exif: bytes = b"",
) -> bytes:
    """A TIFF of one strip.

    Args:
        width: in pixels.
        height: in pixels.
        compression: its number; for deflate and packbits `unpacks` makes a small body.
        samples: of a pixel.
        bits: of a sample.
        body: the strip.
        unpacks: make a body that unpacks to all pixels.
        changes: by tag, another count and value.
        loop: 1: the directory follows itself; 2: its parts do; 3: a chain of directories.
        exif: put behind it, where the EXIF tag leads.
    """
    length = (width * samples * bits + 7) // 8 * height
    if unpacks:
        body = zeros(length) if compression in (8, 32946) else b"\x81\x00" * (length // 128 + 1)
    entries: dict[int, tuple[int, int, Any]] = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, bits),
        259: (3, 1, compression),
        262: (3, 1, 2 if samples >= 3 else 1),
        273: (4, 1, 8),
        274: (3, 1, 1),
        277: (3, 1, samples),
        278: (4, 1, height),
        279: (4, 1, len(body)),
        339: (3, 1, 1),
    }
    start = 8 + len(body)
    if exif:
        entries[0x8769] = (4, 1, start + 2000)
    if loop == 2:
        entries[330] = (4, 1, start)
    for tag, (count, value) in (changes or {}).items():
        entries[tag] = (4, count, value)
    told = b"".join(
        struct.pack("<HHII", tag, kind, count, value & 0xFFFFFFFF)
        for tag, (kind, count, value) in sorted(entries.items())
    )
    size = 2 + len(told) + 4
    following = start if loop == 1 else start + size if loop == 3 else 0
    directory = struct.pack("<H", len(entries)) + told + struct.pack("<I", following)
    if loop == 3:
        chain = [
            struct.pack("<H", len(entries)) + told + struct.pack("<I", start + size * (at + 2)) for at in range(300)
        ]
        directory += b"".join(chain)
    return b"II*\0" + struct.pack("<I", start) + body + directory.ljust(2000, b"\0") + exif
