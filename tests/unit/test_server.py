"""The service over HTTP, with a quick stand-in for the work."""

from __future__ import annotations

import importlib.util
import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")

from studio.config import read_experiment
from studio.errors import ConfigError, DataError
from studio.export.readers import read_mesh
from studio.io.shipped import config_file
from studio.jobs import Job, Phase, Record
from studio.server.desk import Desk
from studio.server.light import check_export
from studio.server.options import settings_of
from studio.server.report import Words
from studio.server.settings import ServerConfig
from studio.server.visitors import folder_of
from tests.local_server import ThreadExecutor, serving
from tests.unit.server_things import CAR, Visitor, quick, textured_square, zipped


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Desk]]:
    jobs = tmp_path_factory.mktemp("server") / "jobs"
    config = ServerConfig(port=0, jobs=str(jobs), queue=4, keep=6, most_mb=3)
    with serving(config, quick) as started:
        yield started


@pytest.fixture
def someone(server: tuple[str, Desk]) -> Visitor:
    return Visitor(server[0])


# --- looking ------------------------------------------------------------------------------------


def test_methods_say_what_they_take_and_what_can_be_set(someone: Visitor) -> None:
    told = {method["name"]: method for method in someone.get("/api/methods").json()}
    assert told["epidiff-neus"]["takes"] == "image"
    assert told["spad-neus"]["takes"] == "text"
    assert told["viewfusion-composable-neus"]["takes"] == "images"
    assert told["reconstruct"]["takes"] == "capture"
    assert told["epidiff-neus"]["weights"]["there"]
    assert told["epidiff-neus"]["licence"] == "Apache-2.0"
    assert not [name for name in told if name.startswith("train/")]
    options = {option["key"]: option for option in told["epidiff-neus"]["options"]}
    assert options["data.elevation_deg"]["kind"] == "number"
    assert options["data.elevation_deg"]["low"] < 0 < options["data.elevation_deg"]["high"]
    assert "alpha" in options["data.background"]["choices"]
    assert "visual-hull" in options["system.reconstruction_type"]["choices"]
    assert options["system.exporter.faces"]["help"]
    every = {option["key"] for method in told.values() for option in method["options"]}
    assert not [k for k in every if k.endswith(("weights", "image", "root", "prepared", "pickle"))]


def test_the_interface_describes_itself(someone: Visitor) -> None:
    told = someone.get("/api/openapi.json").json()
    parts = told["paths"]["/api/jobs"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert {"request", "files"} == set(parts["schema"]["properties"])
    page = someone.get("/api/docs")
    assert "POST /api/jobs" in page.text and "<script" not in page.text


def test_examples_and_formats(someone: Visitor) -> None:
    first = someone.get("/api/examples").json()[0]
    assert Image.open(io.BytesIO(someone.get(first["url"]).content)).format == "PNG"
    names = [row["name"] for row in someone.get("/api/formats").json()]
    assert {"glb", "obj", "ply", "stl", "3mf", "usdz"} <= set(names)


def test_a_browser_fetches_once_what_has_not_changed(someone: Visitor) -> None:
    first = someone.get("/")
    assert first.status_code == 200 and "text/html" in first.headers["content-type"]
    again = someone.get("/", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304 and not again.content
    name = someone.send_job().json()["id"]
    (file,) = (f for f in someone.until_over(name)["files"] if f["name"] == "model.glb")
    address = f"/api/jobs/{name}/files/model.glb"
    assert "immutable" in someone.get(f"{address}?v={file['version']}").headers["cache-control"]
    assert someone.get(f"{address}?v=1").headers["cache-control"] == "no-store"
    part = someone.get(address, headers={"range": "bytes=0-3"})
    assert part.status_code == 206 and part.content == b"glTF"


# --- a job --------------------------------------------------------------------------------------


def test_from_a_picture_to_every_format(someone: Visitor, tmp_path: Path) -> None:
    answer = someone.send_job(seed=3, steps=3)
    assert answer.status_code == 201, answer.text
    name = answer.json()["id"]
    told = someone.until_over(name)
    assert told["phase"] == "done" and told["label"] == "my car" and told["seed"] == 3
    assert told["figures"] == {"psnr": 20.0}
    assert {"model.glb", "views/000.png"} <= {file["name"] for file in told["files"]}
    assert someone.get(f"/api/jobs/{name}/files/views/000.png").content[:4] == b"\x89PNG"
    ply = someone.get(f"/api/jobs/{name}/mesh.ply")
    assert "my%20car.ply" in ply.headers["content-disposition"]
    (tmp_path / "a.ply").write_bytes(ply.content)
    colours = read_mesh(tmp_path / "a.ply").colours
    assert colours is not None and colours[:, 0].max() > 0.9 and colours[:, 2].max() > 0.9
    obj = someone.get(f"/api/jobs/{name}/mesh.obj").content
    with zipfile.ZipFile(io.BytesIO(obj)) as archive:
        assert {Path(n).suffix for n in archive.namelist()} == {".obj", ".mtl", ".png"}
        archive.extractall(tmp_path)
    there = read_mesh(tmp_path / "model.obj")
    assert there.texture is not None
    (tmp_path / "a.glb").write_bytes(someone.get(f"/api/jobs/{name}/mesh.glb").content)
    original = read_mesh(tmp_path / "a.glb")
    assert abs(there.vertices - original.vertices).max() < 1e-5
    for kind in ("stl", "3mf", "usdz"):
        assert len(someone.get(f"/api/jobs/{name}/mesh.{kind}").content) > 100
    refused = someone.get(f"/api/jobs/{name}/mesh.exe")
    assert refused.status_code == 404 and "glb" in refused.json()["allowed"]


def test_how_the_mesh_is_made_and_stands_can_be_chosen_in_words(someone: Visitor) -> None:
    for method in someone.get("/api/methods").json():
        options = {option["key"].rpartition(".")[2]: option for option in method["options"]}
        for name in ("pivot", "front", "texture_source", "glb_textures"):
            assert set(options[name]["words"]) == set(options[name]["choices"]), method["name"]
        assert {"height", "faces", "texture_size", "normal_map", "occlusion_map"} <= set(options)
        assert not any("pip install" in option["help"] for option in options.values())
    words = {"pivot": "centre", "front": "+x", "height": 0.4, "glb_textures": "webp"}
    asked = {f"system.exporter.{name}": value for name, value in words.items()}
    told = someone.until_over(someone.send_job(options=asked).json()["id"])
    assert told["phase"] == "done" and told["options"] == asked


def test_quads_are_there_where_their_package_is(monkeypatch: pytest.MonkeyPatch) -> None:
    content = read_experiment(config_file("epidiff-neus"))
    for found in (importlib.util.find_spec("json"), None):
        monkeypatch.setattr("importlib.util.find_spec", lambda _, found=found: found)
        keys = [setting.key for setting in settings_of(content, "image")]
        assert ("system.exporter.quads" in keys) is (found is not None)


def test_options_of_the_mesh_that_do_not_go_together_are_refused_before_the_job_waits() -> None:
    check_export("epidiff-neus", {"system.exporter.faces": 0})
    with pytest.raises(ConfigError, match="quads is true and faces 0"):
        check_export("epidiff-neus", {"system.exporter.faces": 0, "system.exporter.quads": True})


def test_what_a_glb_cannot_give_back_is_written_with_the_job(
    server: tuple[str, Desk], someone: Visitor
) -> None:
    asked = {"system.exporter.normal_map": True}
    name = someone.send_job(options=asked).json()["id"]
    told = someone.until_over(name)
    assert told["options"] == asked
    (record,) = [r for r in server[1].folder.glob(f"*/{name}")]
    job = json.loads((record / "job.json").read_text())
    assert job["options"]["system.exporter.formats"] == ["glb", "ply", "obj", "usdz"]
    mesh = textured_square()
    mesh = replace(mesh, normal_map=np.full((8, 8, 3), 128, np.uint8), quads=True)
    mesh.save(record / "result" / "model.obj")
    written = {path.name: path.read_bytes() for path in (record / "result").glob("model*")}
    for _ in range(2):
        obj = someone.get(f"/api/jobs/{name}/mesh.obj").content
        with zipfile.ZipFile(io.BytesIO(obj)) as archive:
            files = {inner: archive.read(inner) for inner in archive.namelist()}
        assert set(files) == {"model.obj", "model.mtl", "model.png", "model_normal.png"}
        assert all(files[inner] == written[inner] for inner in files)
    assert b"\nf 1/1 2/2 3/3 4/4\n" in files["model.obj"].replace(b"/1/1", b"/1")


def test_events_tell_every_change_until_it_is_over(someone: Visitor) -> None:
    name = someone.send_job(steps=150).json()["id"]
    with someone.get(f"/api/jobs/{name}/events", stream=True) as stream:
        lines = [line for line in stream.iter_lines() if line.startswith(b"data: ")]
    told = [json.loads(line[6:]) for line in lines]
    assert len(told) >= 3 and told[-1]["phase"] == "done"
    assert [t["done"] for t in told[:-1]] == sorted(t["done"] for t in told[:-1])
    assert any(t["seconds_left"] is not None for t in told[1:-1])


def test_a_job_waits_is_cancelled_and_removed(server: tuple[str, Desk], someone: Visitor) -> None:
    first = someone.send_job(steps=500).json()["id"]
    second = someone.send_job(steps=500).json()
    assert second["phase"] == "waiting" and second["position"] == 1
    assert someone.post(f"/api/jobs/{second['id']}/cancel").json()["phase"] == "cancelled"
    someone.post(f"/api/jobs/{first}/cancel")
    assert someone.until_over(first)["phase"] == "cancelled"
    assert someone.delete(f"/api/jobs/{first}").status_code == 204
    assert someone.get(f"/api/jobs/{first}").status_code == 404
    third = someone.send_job(steps=500).json()["id"]  # removed while it is worked on
    assert someone.delete(f"/api/jobs/{third}").status_code == 204
    assert [job["id"] for job in someone.get("/api/jobs").json()] == [second["id"]]
    folder = server[1].folder
    end = time.monotonic() + 10
    while list(folder.rglob(third)) and time.monotonic() < end:
        time.sleep(0.05)
        server[1].clear()
    assert not list(folder.rglob(third))


def test_again_with_another_seed(someone: Visitor) -> None:
    name = someone.send_job(seed=7, options={"data.elevation_deg": 20}).json()["id"]
    someone.until_over(name)
    told = someone.post(f"/api/jobs/{name}/again", json={"seed": 11}).json()
    assert told["id"] != name and told["seed"] == 11
    assert told["options"] == {"data.elevation_deg": 20} and told["label"] == "my car"
    assert someone.post(f"/api/jobs/{name}/again").json()["seed"] == 8
    someone.delete(f"/api/jobs/{name}")
    assert someone.until_over(told["id"])["phase"] == "done"
    refused = someone.post(f"/api/jobs/{told['id']}/again", json={"seed": "x"})
    assert refused.status_code == 422 and "seed" in refused.json()["error"]


def test_visitors_do_not_see_each_other(someone: Visitor) -> None:
    name = someone.send_job().json()["id"]
    other = Visitor(someone.address)
    assert other.get("/api/jobs").json() == []
    for ask in (
        other.get(f"/api/jobs/{name}"),
        other.get(f"/api/jobs/{name}/events"),
        other.get(f"/api/jobs/{name}/files/model.glb"),
        other.get(f"/api/jobs/{name}/mesh.glb"),
        other.post(f"/api/jobs/{name}/cancel"),
        other.post(f"/api/jobs/{name}/again"),
        other.delete(f"/api/jobs/{name}"),
    ):
        assert ask.status_code == 404 and ask.json()["error"]
    key = {"Authorization": f"Bearer {someone.cookies['studio-visitor']}"}
    assert Visitor(someone.address).get(f"/api/jobs/{name}", headers=key).status_code == 200


def test_a_full_queue_says_how_many_wait(someone: Visitor) -> None:
    names = [someone.send_job(steps=300).json()["id"]]
    answers = []
    for _ in range(6):
        answers.append(someone.send_job(steps=300))
    assert [a.status_code for a in answers[-2:]] == [429, 429]
    assert "4 jobs wait" in answers[-1].json()["error"]
    names += [a.json()["id"] for a in answers if a.status_code == 201]
    for name in names:
        someone.delete(f"/api/jobs/{name}")


def test_only_the_newest_are_kept(server: tuple[str, Desk], someone: Visitor) -> None:
    names = []
    for _ in range(8):
        names.append(someone.send_job().json()["id"])
        someone.until_over(names[-1])
    server[1].clear()
    assert [job["id"] for job in someone.get("/api/jobs").json()] == sorted(names)[:1:-1]


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"method": "nope"}, "no method 'nope'"),
        ({"method": "../../etc/passwd"}, "no method"),
        ({"method": "official/epidiff-neus"}, "not on this machine"),
        ({"method": ["a"]}, "method"),
        ({"options": {"data.image": "/etc/passwd"}}, "cannot be set"),
        ({"options": {"data.prepared": "/tmp/out.png"}}, "cannot be set"),
        ({"options": {"system.guidance.weights": "/x"}}, "cannot be set"),
        ({"options": {"task.previews": False}}, "cannot be set"),
        ({"options": {"data.elevation_deg": 200}}, "[data.elevation_deg] is 200"),
        ({"options": {"data.elevation_deg": [1]}}, "[data.elevation_deg] is a list"),
        ({"options": {"data.background": "x" * 5000}}, "background"),
        ({"options": {"system.exporter.resolution": 4000}}, "8 to 512"),
        ({"options": {"system.exporter.faces": 10**7}}, "0 to 500000"),
        ({"options": {"system.exporter.faces": [9000, 500]}}, "is a list"),
        ({"options": {"system.exporter.front": "up"}}, "+z"),
        ({"options": {"system.exporter.pivot": "../x"}}, "base"),
        ({"options": {"system.exporter.height": -1}}, '"Height in metres"'),
        ({"options": {"system.exporter.formats": ["glb"]}}, "cannot be set"),
        ({"options": {"system.exporter.memory_gb": 1e6}}, "cannot be set"),
        (
            {"options": {"system.reconstruction_type": "os"}},
            "\"Model\" [system.reconstruction_type] is 'os'",
        ),
        ({"options": []}, "options"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1e400}, "JSON"),
        ({"steps": 10**9}, "steps"),
        ({"text": "a car"}, "takes no text"),
        ({"colour": "red"}, "'colour' is not an option"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    someone: Visitor, asked: dict[str, object], said: str
) -> None:
    answer = someone.send_job(**asked)
    told = answer.json()
    assert answer.status_code == 422
    assert said in f"{told['error']} {told.get('allowed')}", told
    assert someone.get("/api/jobs").json() == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"just a text", "not a picture"),
        (CAR.read_bytes()[:2000], "my car.png"),
    ],
)
def test_a_picture_that_is_none_is_refused_at_once(
    server: tuple[str, Desk], someone: Visitor, content: bytes, said: str
) -> None:
    before = {p for p in server[1].folder.rglob("*") if p.is_file()}
    answer = someone.send_job(files=[("files", ("../my car.png", content))])
    assert answer.status_code == 422 and said in answer.json()["error"]
    assert "my car.png" in answer.json()["error"]
    assert str(server[1].folder) not in answer.text
    assert {p for p in server[1].folder.rglob("*") if p.is_file()} <= before


def test_a_busy_background_is_told_before_it_waits(someone: Visitor) -> None:
    made = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(made, "PNG")
    answer = someone.send_job(files=[("files", ("noise.png", made.getvalue()))])
    assert answer.status_code == 422 and "background" in answer.text
    asked = {"data.background": "none"}
    answer = someone.send_job(files=[("files", ("noise.png", made.getvalue()))], options=asked)
    assert answer.status_code == 201


def test_a_photograph_is_scaled_down_upright(server: tuple[str, Desk], someone: Visitor) -> None:
    photo = Image.new("RGB", (2400, 1800), "white")
    photo.paste((200, 30, 30), (800, 200, 1200, 1600))
    made, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    photo.save(made, "JPEG", exif=exif)
    answer = someone.send_job(files=[("files", ("photo.jpg", made.getvalue()))])
    assert answer.status_code == 201, answer.text
    (kept,) = (
        server[1].one(someone.cookies["studio-visitor"], answer.json()["id"])
    ).inputs.iterdir()
    with Image.open(kept) as small:
        assert small.size == (1536, 2048) and small.format == "PNG"
    assert "photo.jpg was scaled down from 2400x1800" in answer.json()["warnings"][0]


def test_captures_are_looked_into(someone: Visitor, tmp_path: Path) -> None:
    root = CAR.parents[1] / "posed" / "car"
    files = {f"car/{p.relative_to(root)}": p.read_bytes() for p in root.rglob("*") if p.is_file()}
    whole = [("files", ("car.zip", zipped(files)))]
    answer = someone.send_job(whole, method="reconstruct")
    assert answer.status_code == 201, answer.text
    assert someone.until_over(answer.json()["id"])["label"] == "car"
    secret = tmp_path / "secret.png"
    secret.write_bytes(CAR.read_bytes())
    for path in (str(secret), f"{'../' * 20}{secret}", "../../gone.png"):
        name = "car/transforms.json"
        told = json.loads(files[name])
        told["frames"][0]["file_path"] = path
        stolen = zipped({**files, name: json.dumps(told).encode()})
        answer = someone.send_job([("files", ("car.zip", stolen))], method="reconstruct")
        assert answer.status_code == 422 and "lies outside" in answer.json()["error"], answer.text
    empty = someone.send_job(
        [("files", ("c.zip", zipped({"a.json": b"{}"})))], method="reconstruct"
    )
    assert empty.status_code == 422 and "c.zip is no capture" in empty.json()["error"]


def test_what_is_brought_has_to_be_what_the_method_takes(someone: Visitor) -> None:
    two = [("files", (f"{i}.png", CAR.read_bytes())) for i in range(2)]
    for files, asked, said in (
        ([], {}, "nothing is given"),
        (two, {}, "2 files"),
        ([], {"method": "spad-neus"}, "takes a text"),
        (two, {"method": "spad-neus", "text": "a car"}, "2 files"),
        ([], {"method": "spad-neus", "text": "x" * 501}, "501 characters"),
        (two[:1], {"method": "reconstruct"}, "no zip"),
    ):
        answer = someone.send_job(files, **asked)
        assert answer.status_code == 422 and said in answer.json()["error"], answer.text
    assert someone.send_job([], method="spad-neus", text="a red car").status_code == 201
    answer = someone.send_job(two, method="viewfusion-composable-neus")
    assert answer.status_code == 201, answer.text


def test_forms_that_are_none(someone: Visitor) -> None:
    for more in (
        {"json": {"method": "epidiff-neus"}},
        {"data": b"--x\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"data": b"", "headers": {"content-type": "multipart/form-data"}},
        {"files": [("request", (None, "{")), ("files", ("a.png", CAR.read_bytes()))]},
        {"files": [("request", (None, "[1]")), ("files", ("a.png", CAR.read_bytes()))]},
        {"files": [("request", (None, "[" * 10_000)), ("files", ("a.png", b"x"))]},
        {"files": [("request", ("r.json", b"{}")), ("files", ("a.png", CAR.read_bytes()))]},
        {"files": [("../evil", ("a.png", CAR.read_bytes()))]},
        {"files": [("files", (f"{i}.png", b"x")) for i in range(40)]},
        {"files": [("request", (None, "x" * 100_000))]},
    ):
        answer = someone.post("/api/jobs", **more)
        assert 400 <= answer.status_code < 500 and len(answer.json()["error"]) > 10, answer.text


def test_files_are_found_by_the_names_that_are_listed(someone: Visitor) -> None:
    name = someone.send_job().json()["id"]
    someone.until_over(name)
    for inner in (
        "../job.json",
        "..%2fjob.json",
        "%2fetc%2fpasswd",
        "views",
        "",
        "x" * 3000,
        "a%00",
    ):
        answer = someone.get(f"/api/jobs/{name}/files/{inner}")
        assert answer.status_code == 404 and answer.json()["error"]
    for odd in ("..", "%2e%2e", f"{name}%00", f"..%2f{name}", "a" * 9000):
        assert someone.get(f"/api/jobs/{odd}/files/model.glb").status_code == 404


def test_a_prepared_picture_is_shown_at_once(someone: Visitor) -> None:
    def prepared(**options: object) -> Image.Image:
        form = {"method": "epidiff-neus", "options": {f"data.{k}": v for k, v in options.items()}}
        parts = [("options", (None, json.dumps(form))), ("files", ("a.png", CAR.read_bytes()))]
        answer = someone.post("/api/prepare", files=parts)
        assert answer.headers["content-type"] == "image/png", answer.text
        assert json.loads(answer.headers["x-studio-warnings"]) == []
        return Image.open(io.BytesIO(answer.content))

    large, small = prepared(ratio=0.9), prepared(ratio=0.4)
    assert large.size == small.size == (64, 64) and large.mode == "RGBA"
    box = large.getchannel("A").getbbox()
    assert box is not None and max(box[2] - box[0], box[3] - box[1]) > 50
    parts = [("options", (None, '{"method": "epidiff-neus"}')), ("files", ("b.png", b"no"))]
    answer = someone.post("/api/prepare", files=parts)
    assert answer.status_code == 422 and answer.json()["error"] == "b.png is not a picture."


def test_words_that_weights_never_saw_are_told_before_the_work(someone: Visitor) -> None:
    def remarks(text: str) -> list[str]:
        form = json.dumps({"method": "spad-neus", "text": text})
        answer = someone.post("/api/prepare", files=[("options", (None, form))])
        assert answer.status_code == 200 and answer.json()["pictures"] == [], answer.text
        return answer.json()["warnings"]  # type: ignore[no-any-return]

    (said,) = remarks("a red unicorn, a unicorn")
    assert said.startswith("the model does not know 'unicorn' and will") and "armchair" in said
    assert remarks("a red car") == []
    job = someone.send_job(files=[], method="spad-neus", text="a red unicorn, a unicorn").json()
    assert job["warnings"] == [said], "a remark, and the job is taken"


# --- restarts -----------------------------------------------------------------------------------


def test_a_restart_takes_up_what_was_not_over(tmp_path: Path) -> None:
    config = ServerConfig(jobs=str(tmp_path / "jobs"))
    place = Path(config.jobs) / folder_of("k" * 20)
    for i, phase in enumerate((Phase.DONE, Phase.RUNNING, Phase.WAITING)):
        record = Record.create(place / f"20260101-00000{i}-{i:012x}", Job(config="epidiff-neus"))
        record.note(phase=phase, ended=time.time() if phase == Phase.DONE else 0.0)
    endless = Record.create(place / f"20260101-000003-{3:012x}", Job(config="epidiff-neus"))
    endless.note(phase=Phase.RUNNING, attempt=5)
    torn = place / f"20260101-000009-{9:012x}"
    torn.mkdir()
    (torn / "job.json").write_text("{")
    executor = ThreadExecutor(quick)
    desk = Desk(config, executor)
    assert desk.taken_up == 2
    end = time.monotonic() + 20
    while time.monotonic() < end and desk.waiting + len(desk._open):
        time.sleep(0.02)
    told = desk.reports(desk.all("k" * 20))
    assert [job["phase"] for job in told] == ["failed"] + ["done"] * 3
    assert "begun 5 times" in told[0]["error"]
    assert not torn.exists()
    executor.close()


def test_messages_say_nothing_of_the_disk(tmp_path: Path) -> None:
    record = Record(tmp_path / "job")
    words = Words(record, {"inputs/0.png": "my car.png"})
    told = words(
        f"picture {tmp_path}/job/inputs/0.png is broken; {tmp_path}/job/views/a.png; "
        f"{Path.cwd()}/studio/x.py and {Path.home()}/secret.txt: no."
    )
    assert told == "my car.png is broken; views/a.png; (on the server) and (on the server): no."


def test_two_who_ask_at_once_get_two_jobs(someone: Visitor) -> None:
    answers: list[int] = []
    someone.get("/api/jobs")
    threads = [
        threading.Thread(target=lambda: answers.append(someone.send_job().status_code))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [201] * 3
    for job in someone.get("/api/jobs").json():
        someone.delete(f"/api/jobs/{job['id']}")


def test_a_fault_of_ours_is_told_in_words(
    server: tuple[str, Desk], someone: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(server[1], "reports", broken)
    answer = someone.get("/api/jobs")
    assert answer.status_code == 500 and answer.json()["error"] == "a fault of the program."
    assert "secret" not in answer.text


def test_errors_are_taken_apart() -> None:
    from studio.server.answers import refusal

    said = refusal(DataError("a is b.", allowed="c", hint="do d\n  and e"))
    assert said.content == {"error": "a is b.", "allowed": "c", "hint": "do d and e"}
