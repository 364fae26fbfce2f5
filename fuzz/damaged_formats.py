"""Hostile pictures of one format each: lying headers, bombs, endless parts."""

from __future__ import annotations

import io
import struct
import zlib

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
from mutation_kinds import Stream, base, kind, some, somewhere, words
from PIL import Image

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
