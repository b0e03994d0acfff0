"""Ways to damage files: bytes, numbers and names, each a function of a seeded random generator."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None, True, "", "x", [], {}, [[]], -1, 0, 1e-300, 1e300, float("nan"), float("inf"), 2**31,
    2**63, 10**400, -(10**12), "\0", "\ud800", "../" * 40 + "etc/passwd", "/dev/zero", "a" * 5000,
    "/" * 3000, [1, "x", None], {"a": {"b": 1}}, "9" * 5000, "nan", "café",
)  # fmt: skip
Random = random.Random


# --- bytes ----------------------------------------------------------------------------------------


def flip(data: bytes, rng: Random) -> bytes:
    """Other bits in one to eight bytes."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def head(data: bytes, rng: Random) -> bytes:
    """Another byte among the first 200, where headers are."""
    out = bytearray(data)
    out[rng.randrange(min(200, len(out)))] = rng.randrange(256)
    return bytes(out)


def truncate(data: bytes, rng: Random) -> bytes:
    """Cut off somewhere."""
    return data[: rng.randrange(len(data))]


def fill(value: int) -> Callable[[bytes, Random], bytes]:
    """One to 64 bytes become one value."""

    def filled(data: bytes, rng: Random) -> bytes:
        at, length = rng.randrange(len(data)), rng.randint(1, 64)
        return data[:at] + bytes([value]) * len(data[at : at + length]) + data[at + length :]

    return filled


def twice(data: bytes, rng: Random) -> bytes:
    """A part stands there twice."""
    at, length = rng.randrange(len(data)), rng.randint(1, 400)
    return data[: at + length] + data[at:]


def swap(data: bytes, rng: Random) -> bytes:
    """Two parts have changed places."""
    a, b = sorted(rng.randrange(len(data)) for _ in range(2))
    return data[b:] + data[a:b] + data[:a]


def latin(data: bytes, rng: Random) -> bytes:
    """Bytes that are no UTF-8."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + "é\xff".encode("latin-1") + data[at:]


def word(data: bytes, rng: Random) -> bytes:
    """A number of 32 or 64 bits becomes a huge or negative one."""
    size, codes = rng.choice(((4, "iI"), (8, "qQ"), (8, "dd")))
    at = rng.randrange(max(1, min(len(data), 400) - size))
    code = codes[rng.randrange(2)]
    values = {"i": -1, "I": 2**32 - 1, "q": -1, "Q": 2 ** rng.choice((40, 62)), "d": float("nan")}
    return data[:at] + struct.pack("<" + code, values[code]) + data[at + size :]


def digits(data: bytes, rng: Random) -> bytes:
    """A digit of a text becomes a huge number, none, or a word."""
    places = [i for i, byte in enumerate(data[:100_000]) if 48 <= byte <= 57]
    if not places:
        return flip(data, rng)
    at = rng.choice(places)
    new = rng.choice((b"9" * 30, b"-", b"nan", b"1e999", b"", b"x", b"0", b"9" * 6000, b" "))
    return data[:at] + new + data[at + 1 :]


def line(data: bytes, rng: Random) -> bytes:
    """A line of a text is left out, or stands there twice."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    return b"\n".join(lines[:at] + lines[at : at + 1] * rng.choice((0, 2)) + lines[at + 1 :])


def nothing(data: bytes, rng: Random) -> bytes:
    """An empty file."""
    return b""


def other(data: bytes, rng: Random) -> bytes:
    """A file of another kind."""
    return rng.choice(_others())


def deep(data: bytes, rng: Random) -> bytes:
    """Nested far too deeply."""
    depth = rng.choice((500, 100_000))
    return rng.choice((b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth, b"- " * depth))


def _others() -> list[bytes]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1 << 22))
    return [
        b"<!doctype html><title>404</title>", b"version https://git-lfs.github.com/spec/v1\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", b"[]", b"{}", b"null",
        b"\x89PNG\r\n\x1a\n" + bytes(30), packed.getvalue(), gzip.compress(bytes(1 << 20)),
        b"\x80\x04cos\nsystem\n(S'true'\ntR.", bytes(range(256)) * 8,
        *bombs(),
    ]  # fmt: skip


def bombs() -> Iterator[bytes]:
    """Small files that ask for much memory, in the formats that have headers."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    header += b" " * (117 - len(header)) + b"\n"
    npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    yield npy + bytes(64)
    for content, method in ((npy, zipfile.ZIP_STORED), (npy + bytes(1 << 24), 8)):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", method) as archive:
            archive.writestr("world_mat_0.npy", content)
        yield packed.getvalue()
    width = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0)
    yield b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", width) + _chunk(b"IDAT", zlib.compress(bytes(99)))
    yield b"P6 16000 4000 255\n" + bytes(100)
    yield b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1000000 +X 1000000\n"
    yield b"ply\nformat ascii 1.0\nelement vertex 99999999999\nproperty float x\nend_header\n0\n"
    yield struct.pack("<Q", 10**11) + bytes(100)  # as many records of COLMAP
    yield struct.pack("<Q", 2**40) + b"{}"  # a safetensors header
    yield b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n".encode()
        for a, b in zip("abcdefghi", "bcdefghij", strict=True)
    )
    yield b"\x80\x02r\xff\xff\xff\x7f."  # a pickle's memo of two thousand million places
    yield b"o\nv 0 0 0\n" + b"f 1 1 999999999999\n"


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


BYTES = (
    flip, head, truncate, fill(0), fill(255), twice, swap, latin, word, digits, line, nothing,
    other, other, deep,
)  # fmt: skip


# --- values in JSON -------------------------------------------------------------------------------


def value(data: bytes, rng: Random) -> bytes:
    """One value of a JSON document becomes a hostile one, or is left out, or is nested deeply."""
    document = json.loads(data)
    places = list(_places(document))
    if not places:
        return flip(data, rng)
    owner, key = rng.choice(places)
    if rng.random() < 0.1:
        del owner[key]
        return json.dumps(document).encode()
    owner[key] = "@hostile@"
    new = rng.choice(HOSTILE)
    if isinstance(new, int) and not isinstance(new, bool) and abs(new) > 1 << 63:
        text = "1" + "0" * 400
    else:
        text = "[" * 300 + "]" * 300 if rng.random() < 0.05 else json.dumps(new)
    return json.dumps(document).replace('"@hostile@"', text).encode()


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, item in list(items):
        yield document, key
        if isinstance(item, dict | list):
            yield from _places(item)


# --- files and folders ----------------------------------------------------------------------------


def place(path: Path, rng: Random) -> str:
    """Put something in a file's place that is no file like it; returns what."""
    kinds = ["folder", "missing", "loop", "pipe", "endless", "unreadable", "copy of another"]
    kind = rng.choice(kinds)
    others = [p for p in sorted(path.parent.iterdir()) if p.is_file() and p != path]
    if kind == "copy of another" and others:
        content = rng.choice(others).read_bytes()
        path.unlink()
        path.write_bytes(content)
        return kind
    if kind == "unreadable":
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        path.chmod(0)
        return kind
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    return kind


def damage(path: Path, rng: Random) -> str:
    """Damage one file in some way; returns how."""
    if rng.random() < 0.12:
        return place(path, rng)
    data = path.read_bytes()
    way: Callable[[bytes, Random], bytes] = rng.choice(BYTES)
    if path.suffix == ".json" and rng.random() < 0.6:
        way = value
    try:
        changed = way(data, rng)
    except ValueError:  # too small a file
        changed = data + b"\xff"
    path.unlink()  # it may be a link to the original
    path.write_bytes(changed)
    return way.__name__
