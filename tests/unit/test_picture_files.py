"""Opening picture files: one list of formats everywhere, Ghostscript never, one clear message."""

from __future__ import annotations

import ast
import importlib.util
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from studio.data.training.nmr import NMRViews
from studio.data.training.views_files import read_rgba8
from studio.errors import DataError
from studio.export.readers import read_mesh
from studio.io.images import read_rgba
from studio.io.picture_files import opened, picture_size

PACKAGE = Path(__file__).resolve().parents[2] / "studio"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n"
HEAD_OF_HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(64)


def test_pictures_are_opened_in_one_place() -> None:
    elsewhere = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in (
                "Image.open",
                "iio.imread",
            ):
                elsewhere.append(path.name)
    assert elsewhere == ["picture_files.py"]


def of_archive(path: Path) -> object:
    archive = SimpleNamespace(source="a.zip", read=lambda key, view: path.read_bytes())
    views = SimpleNamespace(archive=archive, cfg=SimpleNamespace(resolution=64))
    return NMRViews._picture(views, "car", 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("read", [read_rgba, read_rgba8, picture_size, of_archive])
@pytest.mark.parametrize("name", ["p.eps", "p.png"])
def test_ghostscript_is_never_run(
    read: Callable[[Path], object], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ghostscript = _noting_ghostscript(tmp_path, monkeypatch)
    (tmp_path / name).write_bytes(EPS)
    with pytest.raises(DataError, match="is not a picture") as caught:
        read(tmp_path / name)
    assert "png, jpg, webp" in str(caught.value)
    assert not ghostscript.exists()


def test_a_mesh_whose_texture_is_postscript_does_not_run_ghostscript(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ghostscript = _noting_ghostscript(tmp_path, monkeypatch)
    (tmp_path / "t.eps").write_bytes(EPS)
    (tmp_path / "m.mtl").write_text("newmtl a\nmap_Kd t.eps\n")
    lines = ["mtllib m.mtl", "v 0 0 0", "v 1 0 0", "v 0 1 0", "vt 0 0", "vt 1 0", "vt 0 1"]
    (tmp_path / "m.obj").write_text("\n".join([*lines, "usemtl a", "f 1/1 2/2 3/3"]))
    assert read_mesh(tmp_path / "m.obj").texture is None
    assert not ghostscript.exists()


def _noting_ghostscript(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `gs` before all others that notes its call; returns the note's file."""
    note = folder / "gs-was-run"
    (folder / "bin").mkdir()
    (folder / "bin" / "gs").write_text(f"#!/bin/sh\ntouch {note}\necho 10.0\n")
    (folder / "bin" / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return note


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("a" * 5000 + ".png", "too long"),
        ("b/" * 3000 + "x.png", "too long"),
        ("nul\0.png", "cannot be opened"),
        ("/dev/zero", "device or pipe"),
        (".", "is a folder"),
    ],
)
@pytest.mark.parametrize("read", [read_rgba, read_rgba8, picture_size])
def test_impossible_paths(read: Callable[[str], object], path: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read(path)
    assert len(str(caught.value)) < 600


def png(width: int, height: int) -> bytes:
    """A PNG that says it is so large and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(30_000, 30_000), (12_000, 12_000), (20_000, 10)])
@pytest.mark.parametrize("read", [read_rgba, read_rgba8, picture_size, of_archive])
def test_decompression_bombs(
    read: Callable[[Path], object], size: tuple[int, int], tmp_path: Path
) -> None:
    (tmp_path / "bomb.png").write_bytes(png(*size))
    with pytest.raises(DataError, match=r"too large|more pixels"):
        read(tmp_path / "bomb.png")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp", "gif", "avif"])
def test_damage_anywhere_in_a_file_is_one_clear_message(suffix: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (24, 20, 3), dtype=np.uint8)
    path = tmp_path / f"p.{suffix}"
    Image.fromarray(pixels).save(path)
    whole = path.read_bytes()
    with opened(path) as picture:
        assert picture.size == (20, 24)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 8):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged[: rng.integers(1, len(whole))])
        try:
            read_rgba(path)
        except DataError as error:
            assert str(path) in str(error)


def test_heic_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "photo.jpg").write_bytes(HEAD_OF_HEIC)  # as often, under another name
    with pytest.raises(DataError, match="HEIC") as caught:
        read_rgba(tmp_path / "photo.jpg")
    assert "pip install pillow-heif" in str(caught.value)


def test_heic_is_read_upright(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, :48] = (255, 0, 0)  # the stored left becomes the top
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "p.heic", quality=95, exif=exif.tobytes())
    assert picture_size(tmp_path / "p.heic") == (96, 64)
    rgba = read_rgba(tmp_path / "p.heic")
    assert rgba.shape == (4, 96, 64)
    assert rgba[0, :40].min() > 0.9 and rgba[0, 56:].max() < 0.1
