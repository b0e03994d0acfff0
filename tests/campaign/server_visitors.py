"""What visitors send a server in the campaign: jobs that can be done, and all that should not be.

Every function is one kind of visit. It returns the answer, or None where none can be expected, such
as after an upload that was broken off.
"""

from __future__ import annotations

import http.client
import io
import json
import random
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import requests
from PIL import Image

REPOSITORY = Path(__file__).parents[2]
IMAGES = sorted((REPOSITORY / "load" / "images").glob("*.png"))
POSED = REPOSITORY / "load" / "posed" / "car"
OURS: list[str] = []
"""Paths that no answer may name."""
QUICK = {
    "system.reconstruction_type": "visual-hull",
    "system.exporter.resolution": 48,
    "system.exporter.faces": 2000,
    "system.exporter.texture_size": 128,
    "system.exporter.turntable": False,
    "system.exporter.preview": False,
    "system.exporter.inspect": False,
}
"""Options that make the work short; what surrounds it is what is tried."""


@dataclass
class Answer:
    """What a server said.

    Attributes:
        status: of HTTP; 0 where the connection ended without one.
        text: the body.
        job: of an accepted job, its id.
    """

    status: int
    text: str = ""
    job: str = ""

    @property
    def in_words(self) -> bool:
        """Whether a refusal is a sentence without traces of the program or the disk."""
        try:
            said = json.loads(self.text)["error"]
            said = said["message"] if isinstance(said, dict) else said
        except (ValueError, KeyError, TypeError):
            said = self.text
        bad = ("Traceback", 'File "', "site-packages", str(REPOSITORY), *OURS)
        return len(said.split()) >= 3 and not any(word in self.text for word in bad)


@dataclass
class Visits:
    """Sends things to a server.

    Attributes:
        address: of it.
        canary: a name that no file may have outside the folder of jobs.
        draw: what is random.
    """

    address: str
    canary: str
    draw: random.Random
    session: requests.Session = field(default_factory=requests.Session)
    mine: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session.trust_env = False

    def anew(self) -> None:
        """Become somebody else."""
        self.session.close()
        self.session = requests.Session()
        self.session.trust_env = False
        self.mine = []

    # --- asking ---------------------------------------------------------------------------------

    def ask(self, method: str, path: str, **more: object) -> Answer:
        url = f"{self.address}{path}"
        with self.session.request(method, url, timeout=300, **more) as answer:  # type: ignore[arg-type]
            return Answer(answer.status_code, answer.text[:2000])

    def send(self, files: list[tuple[str, bytes]], words: str = "", **asked: object) -> Answer:
        given = {"method": "epidiff-neus", "options": QUICK, "steps": 20, **asked}
        parts: list[tuple[str, object]] = [("request", (None, words or json.dumps(given)))]
        parts += [("files", (name, content)) for name, content in files]
        answer = self.ask("POST", "/api/jobs", files=parts)
        if answer.status == 201:
            answer.job = json.loads(answer.text)["id"]
            self.mine.append(answer.job)
        return answer

    def raw(self, content: bytes) -> Answer:
        """Send bytes as they are and read what comes back."""
        where = urlsplit(self.address)
        with socket.create_connection((str(where.hostname), where.port or 80), 30) as line:
            line.sendall(content)
            line.settimeout(30)
            got = b""
            while piece := line.recv(1 << 16):
                got += piece
        head, _, body = got.partition(b"\r\n\r\n")
        status = int(head.split()[1]) if head.startswith(b"HTTP/") else 0
        return Answer(status, body.decode(errors="replace"))

    def picture(self) -> bytes:
        return self.draw.choice(IMAGES).read_bytes()


Kind = Callable[[Visits], "Answer | None"]
GOOD: dict[str, Kind] = {}
HOSTILE: dict[str, Kind] = {}


def good(kind: Kind) -> Kind:
    GOOD[kind.__name__] = kind
    return kind


def hostile(kind: Kind) -> Kind:
    HOSTILE[kind.__name__] = kind
    return kind


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo("x")
            entry.filename, entry.compress_type = name, zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return made.getvalue()


def capture() -> dict[str, bytes]:
    files = (path for path in POSED.rglob("*") if path.is_file())
    return {f"car/{path.relative_to(POSED)}": path.read_bytes() for path in files}


def stated_png(width: int, height: int) -> bytes:
    """A PNG whose header says a size, with next to nothing behind it."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    head = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + rows + chunk(b"IEND", b"")


# --- what can be done ---------------------------------------------------------------------------


@good
def a_picture(on: Visits) -> Answer:
    return on.send([("car.png", on.picture())], seed=on.draw.randrange(100))


@good
def a_picture_of_what_stands_as_asked(on: Visits) -> Answer:
    options = {
        "height": round(on.draw.uniform(0.01, 3), 3),
        "pivot": on.draw.choice(["auto", "base", "centre", "fitted"]),
        "front": on.draw.choice(["+z", "+x", "-z", "-x"]),
        "texture_source": on.draw.choice(["auto", "field", "views"]),
        "glb_textures": on.draw.choice(["png", "jpeg", "webp"]),
        "normal_map": on.draw.random() < 0.5,
        "occlusion_map": on.draw.random() < 0.5,
    }
    asked = {**QUICK, **{f"system.exporter.{name}": value for name, value in options.items()}}
    return on.send([("car.png", on.picture())], options=asked)


@good
def a_text(on: Visits) -> Answer:
    return on.send([], method="spad-neus", text="a red car")


@good
def several_pictures(on: Visits) -> Answer:
    files = [(f"{i}.png", on.picture()) for i in range(2)]
    return on.send(files, method="viewfusion-composable-neus")


@good
def a_capture(on: Visits) -> Answer:
    return on.send([("car.zip", zipped(capture()))], method="reconstruct")


@good
def a_picture_with_a_name_that_is_a_path(on: Visits) -> Answer:
    up = "../" * on.draw.randrange(1, 12)
    name = on.draw.choice([f"{up}{on.canary}.png", f"/etc/{on.canary}.png", f"C:\\{on.canary}.png"])
    return on.send([(name, on.picture())], label=f"{up}{on.canary}")


@good
def a_picture_with_a_name_of_all_scripts(on: Visits) -> Answer:
    name = on.draw.choice(
        ["Bild ü ß.png", "图片.png", "صورة.png", "🚗🚙.png", "a\u202egnp.exe", "." * 200]
    )
    return on.send([(name, on.picture())], label=name * 20)


@good
def a_picture_of_36_megapixels(on: Visits) -> Answer:
    made = io.BytesIO()
    large = Image.new("RGB", (6000, 6000), "white")
    large.paste((200, 30, 30), (2000, 2000, 4000, 4000))
    large.save(made, "PNG")
    return on.send([("large.png", made.getvalue())])


# --- what should not be -------------------------------------------------------------------------


@hostile
def a_header_of_30000_px(on: Visits) -> Answer:
    side = on.draw.choice([30_000, 16_000, 2**31 - 1])
    return on.send([("a.png", stated_png(side, on.draw.choice([1, side])))])


@hostile
def an_empty_file(on: Visits) -> Answer:
    return on.send([("a.png", b"")])


@hostile
def a_text_as_png(on: Visits) -> Answer:
    return on.send([("a.png", b"I am no picture. " * on.draw.randrange(1, 1000))])


@hostile
def a_damaged_picture(on: Visits) -> Answer:
    content = bytearray(on.picture())
    if on.draw.random() < 0.5:
        return on.send([("cut.png", bytes(content[: on.draw.randrange(20, len(content) // 2)]))])
    for _ in range(40):
        content[on.draw.randrange(8, len(content))] = on.draw.randrange(256)
    return on.send([("flipped.png", bytes(content))])


@hostile
def a_picture_that_unpacks_to_more_than_it_says(on: Visits) -> Answer:
    whole = stated_png(64, 64)
    rows = zlib.compress(bytes(50_000_000))
    body = struct.pack(">I", len(rows)) + b"IDAT" + rows
    checksum = struct.pack(">I", zlib.crc32(b"IDAT" + rows))
    return on.send([("a.png", whole[:33] + body + checksum + whole[-12:])])


@hostile
def exporter_options_that_cannot_be(on: Visits) -> Answer:
    wrong = on.draw.choice(
        [
            {"faces": 10**9}, {"faces": [20_000, 5_000]}, {"texture_size": 1 << 14},
            {"resolution": 4096}, {"front": "up"}, {"pivot": on.canary}, {"height": -1},
            {"formats": ["obj"]}, {"glb_compression": "draco"}, {"memory_gb": 1e6},
            {"turntable_frames": 10_000}, {"normal_map": "perhaps"}, {"quads": True, "faces": 0},
        ]
    )  # fmt: skip
    options = {**QUICK, **{f"system.exporter.{name}": value for name, value in wrong.items()}}
    return on.send([("car.png", on.picture())], options=options)


@hostile
def a_zip_that_leads_out(on: Visits) -> Answer:
    up = on.draw.choice(["../", "../../../../../../", "car/../../../", "/tmp/", "..\\..\\"])
    files = {**capture(), f"{up}{on.canary}.png": on.picture()}
    return on.send([("car.zip", zipped(files))], method="reconstruct")


@hostile
def a_zip_with_a_link(on: Visits) -> Answer:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        link = zipfile.ZipInfo("images")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/tmp")
        archive.writestr(f"images/{on.canary}.png", on.picture())
        archive.writestr("transforms.json", "{}")
    return on.send([("car.zip", made.getvalue())], method="reconstruct")


@hostile
def a_zip_bomb(on: Visits) -> Answer:
    files = {f"car/images/{i}.png": bytes(20_000_000) for i in range(4)}
    return on.send([("car.zip", zipped(files))], method="reconstruct")


@hostile
def a_zip_of_thousands(on: Visits) -> Answer:
    files = {f"{i}.txt": b"" for i in range(20_000)}
    return on.send([("car.zip", zipped(files))], method="reconstruct")


@hostile
def a_capture_that_names_files_elsewhere(on: Visits) -> Answer:
    files = capture()
    told = json.loads(files["car/transforms.json"])
    target = on.draw.choice(["/etc/passwd", str(IMAGES[0]), "../" * 30 + str(IMAGES[0])])
    told["frames"][0][on.draw.choice(["file_path", "mask_path"])] = target
    files["car/transforms.json"] = json.dumps(told).encode()
    return on.send([("car.zip", zipped(files))], method="reconstruct")


@hostile
def a_damaged_zip(on: Visits) -> Answer:
    content = bytearray(zipped(capture()))
    for _ in range(5):
        content[on.draw.randrange(len(content))] = on.draw.randrange(256)
    return on.send([("car.zip", bytes(content))], method="reconstruct")


@hostile
def a_body_of_500_mb(on: Visits) -> Answer:
    where = urlsplit(on.address)
    line = http.client.HTTPConnection(str(where.hostname), where.port, timeout=120)

    def pieces() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for _ in range(500):
            yield bytes(1_000_000)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    if on.draw.random() < 0.5:  # else it does not say how much will come
        headers["Content-Length"] = str(500_000_000 + 65)
    line.request("POST", "/api/jobs", body=pieces(), headers=headers,
                 encode_chunked="Content-Length" not in headers)  # fmt: skip
    answer = line.getresponse()
    text = answer.read(2000).decode()
    line.close()
    return Answer(answer.status, text)


@hostile
def an_upload_that_breaks_off(on: Visits) -> None:
    where = urlsplit(on.address)
    with socket.create_connection((str(where.hostname), where.port or 80), 30) as line:
        line.sendall(
            f"POST /api/jobs HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: 5000000\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            'Content-Disposition: form-data; name="files"; filename="a"\r\n\r\n'.encode()
        )
        line.sendall(bytes(on.draw.randrange(1, 200_000)))
    return None


@hostile
def json_that_is_none(on: Visits) -> Answer:
    words = on.draw.choice(
        ["{", "[1, 2]", "null", '"a"', "[" * 20_000, "{}" * 3, "\udcff", "1e999"]
    )
    return on.send([("car.png", on.picture())], words=words.encode(errors="replace").decode())


@hostile
def values_that_are_none(on: Visits) -> Answer:
    asked: dict[str, object] = on.draw.choice(
        [
            {"seed": 2**70},
            {"seed": -1},
            {"steps": "many"},
            {"options": {"data.elevation_deg": "nan"}},
            {"options": {"data.elevation_deg": {"a": 1}}},
            {"options": {"data.ratio": 1e300}},
            {"options": {"x" * 5000: 1}},
            {"method": "../configs/epidiff-neus"},
            {"method": "official/epidiff-neus"},
            {"text": "a" * 10_000},
            {"label": {"a": 1}},
        ]
    )
    return on.send([("car.png", on.picture())], **asked)


@hostile
def options_that_nobody_may_set(on: Visits) -> Answer:
    options = on.draw.choice(
        [
            {"data.prepared": f"/tmp/{on.canary}.png"},
            {"data.image": "/etc/passwd"},
            {"data.root": "/"},
            {"data.background_model": "/tmp/x.onnx"},
            {"system.guidance.weights": "/tmp/x.ckpt"},
            {"system.guidance.allow_download": True},
            {"system.guidance.allow_pickle": True},
            {"system.exporter.formats": ["glb"]},
            {"exp_root_dir": f"/tmp/{on.canary}"},
            {"task.reference": "/etc/passwd"},
        ]
    )
    return on.send([("car.png", on.picture())], options=options)


@hostile
def a_wrong_host(on: Visits) -> Answer:
    host = on.draw.choice(["evil.example", "localhost.evil.example", "", "a b", "[::1"])
    return on.raw(f"GET /api/jobs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())


@hostile
def another_page(on: Visits) -> Answer:
    parts = [("request", (None, "{}")), ("files", ("a.png", on.picture()))]
    return on.ask("POST", "/api/jobs", files=parts, headers={"Origin": "http://evil.example"})


@hostile
def no_http_at_all(on: Visits) -> Answer:
    return on.raw(on.draw.randbytes(200).replace(b"\n", b"") + b"\r\n\r\n")


@hostile
def paths_in_addresses(on: Visits) -> Answer:
    name = on.draw.choice([*on.mine[-3:], "..", "%2e%2e"])
    inner = on.draw.choice(["../job.json", "..%2f..%2fjob.json", "%2fetc%2fpasswd", "a%00.png"])
    return on.raw(
        f"GET /api/jobs/{name}/files/{inner} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Cookie: {'; '.join(f'{k}={v}' for k, v in on.session.cookies.items())}\r\n"
        "Connection: close\r\n\r\n".encode()
    )


@hostile
def somebody_elses_job(on: Visits) -> Answer:
    name = on.draw.choice(on.mine or ["20260101-000000-000000000000"])
    headers = {"Authorization": f"Bearer {on.draw.randrange(10**30):030d}"}
    method, tail = on.draw.choice(
        [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/mesh.glb")]
    )
    url = f"{on.address}/api/jobs/{name}{tail}"
    answer = requests.request(method, url, headers=headers, timeout=60)
    return Answer(answer.status_code, answer.text)


@hostile
def no_mcp(on: Visits) -> Answer:
    return on.ask(
        "POST", "/mcp", data=on.draw.randbytes(300), headers={"Content-Type": "application/json"}
    )
