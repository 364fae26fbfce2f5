"""Hostile pictures that are made of any format."""

from __future__ import annotations

import struct

from mutation_kinds import FORMATS, Stream, base, kind, some, somewhere, words


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
