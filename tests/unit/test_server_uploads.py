"""What strangers send is judged before it is unpacked or decoded, and never names a path."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from studio.errors import DataError
from studio.server.archives import unpack
from studio.server.uploads import given_name, keep_picture, label
from tests.unit.server_things import zipped

pytest.importorskip("fastapi")

MOST = 10_000_000


def unpacked(content: bytes, folder: Path, most: int = MOST) -> list[str]:
    archive = folder / "given.zip"
    archive.write_bytes(content)
    root = unpack(archive, folder / "capture", most)
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def entry(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename, info.create_system, info.external_attr = name, 3, mode << 16
    return info


def test_a_capture_comes_out_as_it_went_in_without_what_no_reader_wants(tmp_path: Path) -> None:
    content = zipped(
        {
            "capture/transforms.json": b"{}",
            "capture/images/Bild ü 1.png": b"png",
            "capture/sparse/0/images.bin": b"bin",
            "capture/.DS_Store": b"x",
            "__MACOSX/capture/._transforms.json": b"x",
            "capture/run.sh": b"rm -rf /",
        }
    )
    assert unpacked(content, tmp_path) == [
        "images/Bild ü 1.png",
        "sparse/0/images.bin",
        "transforms.json",
    ]


@pytest.mark.parametrize("before", ["", "views/", "mine/views/"])
def test_the_views_of_a_run_are_a_capture_however_they_are_zipped(
    tmp_path: Path, before: str
) -> None:
    content = zipped({f"{before}transforms.json": b"{}", f"{before}images/000.png": b"png"})
    assert unpacked(content, tmp_path) == ["images/000.png", "transforms.json"]


@pytest.mark.parametrize(
    "name",
    [
        "../out.png",
        "a/../../out.png",
        "/etc/out.png",
        "C:/out.png",
        "..\\out.png",
        "a\x00.png",
        "a\n.png",
        "a\u202egnp.png",
        "x" * 200 + ".png",
        "/".join("abcdefghijk") + ".png",
    ],
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("transforms.json", "{}")
        archive.writestr(entry(name), b"x")
    before = set(tmp_path.parent.rglob("*"))
    with pytest.raises(DataError, match="name"):
        unpacked(made.getvalue(), tmp_path)
    written = {p for p in set(tmp_path.parent.rglob("*")) - before if p.is_file()}
    assert written <= {tmp_path / "given.zip", tmp_path / "capture" / "transforms.json"}


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o010644])
def test_links_and_devices_are_refused(tmp_path: Path, mode: int) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(entry("images/0.png", mode), b"/etc/passwd")
    with pytest.raises(DataError, match="link or device"):
        unpacked(made.getvalue(), tmp_path)


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="far more"):
        unpacked(zipped({"a.txt": b"\0" * 5_000_000}), tmp_path)
    noise = random.Random(0).randbytes(5_000_000)
    with pytest.raises(DataError, match="MB come out"):
        unpacked(zipped({"a.bin": noise, "b.bin": noise}), tmp_path, most=6_000_000)
    with pytest.raises(DataError, match="too many"):
        unpacked(zipped({f"{i}.txt": b"" for i in range(5001)}), tmp_path)


def test_an_entry_that_is_larger_than_it_says_is_not_written_whole(tmp_path: Path) -> None:
    packed = zlib.compress(b"\0" * 3_000_000)[2:-4]
    crc = zlib.crc32(b"\0" * 100)
    name = b"a.txt"
    head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(packed), 100, 5, 0)
    listed = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, len(packed), 100,
                         5, 0, 0, 0, 0, 0, 0)  # fmt: skip
    start = len(head) + 5 + len(packed)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(listed) + 5, start, 0)
    unpacked_bytes = 0
    try:
        unpacked(head + name + packed + listed + name + end, tmp_path)
    except DataError:
        pass
    for path in (tmp_path / "capture").rglob("*"):
        unpacked_bytes += path.stat().st_size
    assert unpacked_bytes <= 100


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip",
        b"PK\5\6" + bytes(18),
        zipped({"readme.md": b"nothing"}),
        zipped({"a.json": b"{}"})[:-30],
        b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 60000, 60000, 1 << 30, 0, 0),
        zipped({"a.json": b"{}"}).replace(b"PK\5\6", b"PK\6\7" + bytes(16) + b"PK\5\6"),
    ],
    ids=["empty", "text", "no files", "no capture", "cut off", "too many", "the larger form"],
)
def test_what_is_no_zip_of_a_capture_is_told_so(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match="zip"):
        unpacked(content, tmp_path)


def test_every_damaged_zip_is_answered_in_words(tmp_path: Path) -> None:
    whole = zipped({"transforms.json": b'{"frames": []}' * 20, "images/0.png": bytes(100)})
    for i in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[i] ^= 0xFF
        folder = tmp_path / str(i)
        folder.mkdir()
        try:
            unpacked(bytes(damaged), folder)
        except DataError as error:
            assert "Traceback" not in str(error)
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and "capture" not in p.parts]
    assert {p.name for p in outside} == {"given.zip"}


# --- pictures -----------------------------------------------------------------------------------


def test_a_picture_gets_the_suffix_of_what_it_is(tmp_path: Path) -> None:
    made = io.BytesIO()
    Image.new("RGB", (4, 4)).save(made, "JPEG")
    made.seek(0)
    kept = keep_picture(made, "a.png", tmp_path / "0", 1)
    assert kept == (tmp_path / "0.jpg", (4, 4))


def huge_header(side: int) -> bytes:
    body = struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + body
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(body)) + chunk
        + struct.pack(">I", zlib.crc32(chunk)) + struct.pack(">I", 0) + b"IDAT" + bytes(4)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"hello, I am a text", "not a picture"),
        (huge_header(30_000), "more pixels"),
        (huge_header(7_000), "at most 16,384 px on a side and 40 megapixels"),
        (b"\x89PNG\r\n\x1a\n", "picture|broken"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    ],
)
def test_a_picture_that_cannot_be_used_is_named_as_its_sender_does(
    tmp_path: Path, content: bytes, said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        keep_picture(io.BytesIO(content), "holiday.png", tmp_path / "0", 40)
    assert "holiday.png" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_names_of_files_are_shown_and_never_used() -> None:
    assert given_name("../../etc/passwd") == "passwd"
    assert given_name("C:\\photos\\car.png") == "car.png"
    assert given_name(None) == given_name("\x00\x01/") == "the file"
    assert label("a\n b\u202e  c\x07") == "a b c"
    assert len(label("ü" * 500)) == 80
