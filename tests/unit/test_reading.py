"""The guard of all readers: kinds, sizes and counts are looked at before memory is taken."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from studio.data.training.arrays import read_array, read_arrays
from studio.errors import DataError, WeightsError
from studio.io.reading import (
    check_count,
    inflated,
    known_json,
    parse_json,
    read_bytes,
    read_json,
    reading,
)


def test_whatever_a_parser_raises_becomes_one_message(tmp_path: Path) -> None:
    for error in (
        KeyError("a"),
        MemoryError(),
        RecursionError(),
        zlib.error("x"),
    ):
        with pytest.raises(WeightsError, match="x.bin is broken") as caught:
            with reading(tmp_path / "x.bin", problem="is broken", error=WeightsError):
                raise error
        assert caught.value.__cause__ is error
    with pytest.raises(WeightsError, match="x.bin cannot be read: bad"):
        with reading(tmp_path / "x.bin", problem="is broken", error=WeightsError):
            raise OSError(5, "bad")
    with pytest.raises(ZeroDivisionError):
        with reading(tmp_path, raised=OSError):
            raise ZeroDivisionError
    with pytest.raises(DataError, match="inner"):
        with reading(tmp_path):
            raise DataError("inner")


def test_pipes_devices_and_folders_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "folder.json").mkdir()
    for name in ("pipe", "endless", "loop", "folder", "none"):
        with pytest.raises(DataError, match=f"{name}.json cannot be read"):
            read_json(tmp_path / f"{name}.json")
        assert known_json(tmp_path / f"{name}.json") == {}
    (tmp_path / "a").write_bytes(bytes(100))
    with pytest.raises(ValueError, match="up to 99"):
        read_bytes(tmp_path / "a", 99)


def test_json_has_limits(tmp_path: Path) -> None:
    assert parse_json("[" * 100 + "]" * 100)
    for text in ("[" * 101 + "]" * 101, "[" * 100_000, '{"a":' * 200 + "1" + "}" * 200, "{", ""):
        with pytest.raises(ValueError, match="not valid JSON"):
            parse_json(text)
    assert parse_json(json.dumps([float("inf"), "[[" * 200])) == [float("inf"), "[[" * 200]
    with pytest.raises(ValueError, match="NaN"):
        parse_json("[NaN]", finite=True)
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(DataError, match=r"holds a JSON list(.|\n)*a JSON object"):
        read_json(tmp_path / "a.json")


def test_counts_and_packed_data_are_limited() -> None:
    check_count(10, 8, 80, "points")
    for count in (-1, 11, 2**62):
        with pytest.raises(ValueError, match="points"):
            check_count(count, 8, 80, "points")
    packed = zlib.compress(bytes(1 << 20))
    assert len(inflated(packed, 1 << 20)) == 1 << 20
    with pytest.raises(ValueError, match="more than"):
        inflated(packed, 1 << 19)
    with pytest.raises(zlib.error):
        inflated(packed[:100], 1 << 20)


def test_arrays_are_no_larger_than_their_files(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000), }"
    header += b" " * (117 - len(header)) + b"\n"
    bomb = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)
    (tmp_path / "a.npy").write_bytes(bomb)
    with pytest.raises(DataError, match=r"a.npy cannot be read: it speaks of 10000000000 numbers"):
        read_array(tmp_path / "a.npy")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bomb)
    (tmp_path / "a.npz").write_bytes(packed.getvalue())
    with pytest.raises(DataError, match="10000000000 numbers"):
        read_arrays(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.eye(3), y=np.arange(4))
    found = read_arrays(tmp_path / "b.npz")
    assert (found["x"] == np.eye(3)).all() and found["y"].tolist() == [0, 1, 2, 3]
