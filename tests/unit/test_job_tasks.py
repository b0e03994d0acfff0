"""What jobs do: the tasks `make` and `evaluate`, and options as they reach them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import studio
from studio.api import configured
from studio.app.cli import main
from studio.errors import Cancelled, ConfigError, DataError, StudioError
from studio.export.readers import read_back, read_mesh
from studio.io.yaml_text import Word
from studio.jobs.record import Job
from studio.jobs.task import Outcome, Shelf, Work, flat, task_options
from studio.jobs.tasks.make import warm_pipeline
from studio.plugins.options import build
from studio.views import ViewSet
from tests.conftest import REPOSITORY
from tests.unit.test_api import SMALL

CAR = str(REPOSITORY / "load" / "images" / "car.png")
FILES = ("model.glb", "views/transforms.json", "views/images/000.png")
QUICK = {
    **SMALL,
    "system.exporter.formats": ["glb"],
    "system.exporter.preview": False,
    "system.exporter.inspect": False,
}


def run(job: Job, folder: Path, **changes: Any) -> Outcome:
    folder.mkdir(exist_ok=True, parents=True)
    given = {"tell": lambda *_: None, "asked": lambda: False, "shelf": Shelf(), **changes}
    work = Work(job, list(job.inputs), folder, "cpu", **given)
    task = build("task", job.task, task_options(job), key="task")
    outcome: Outcome = task.run(work)
    return outcome


@pytest.fixture(scope="module")
def model() -> studio.Pipeline:
    return studio.load("epidiff-neus", QUICK, device="cpu")


@pytest.fixture(scope="module")
def plain(model: studio.Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Python face makes of the car."""
    folder = tmp_path_factory.mktemp("plain")
    model(CAR, seed=3).save(folder)
    return folder


def test_previews_change_nothing_of_the_result(plain: Path, tmp_path: Path) -> None:
    options = {**QUICK, "task.previews": True, "task.preview_seconds": "0.001"}
    options["task.preview_resolution"] = 24
    job = Job(config="epidiff-neus", inputs=[CAR], options=options, seed=3)
    state = torch.get_rng_state()
    outcome = run(job, tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (plain / name).read_bytes(), name
    for name in ("first.glb", "fit.glb"):
        mesh = read_mesh(tmp_path / name)
        assert mesh.colours is not None and mesh.colours.std() > 0.01
        assert abs(float(mesh.vertices[:, 2].min())) < 1e-3, "it stands where model.glb stands"
        there = [read_back(tmp_path / file).vertices.mean(0) for file in (name, "model.glb")]
        assert abs(there[0] - there[1]).max() < 0.1, "it leads back to the views as that does"
    assert (tmp_path / "condition.png").is_file()
    assert flat(outcome.figures)["mesh_faces"] > 100
    assert "input_likeness" in outcome.figures and not any("parts" in w for w in outcome.warnings)


def test_what_is_ready_is_handed_out_in_order(model: studio.Pipeline) -> None:
    got: list[tuple[str, Any]] = []
    result = model(CAR, steps=2, ready=lambda name, value: got.append((name, value)))
    assert [name for name, _ in got] == ["condition", "views", "fit", "fit"]
    assert got[0][1] is result.condition and got[1][1] is result.views
    assert got[2][1] is result.model


def test_weights_are_loaded_once_for_jobs_that_want_the_same(tmp_path: Path) -> None:
    work = Work(Job(), [], tmp_path, "cpu", lambda *_: None, lambda: False, Shelf(2))

    def guidance(changes: dict[str, Any]) -> Any:
        return warm_pipeline(configured("epidiff-neus", {**SMALL, **changes}), work).guidance

    first = guidance({})
    assert guidance({"data.ratio": 0.7, "system.exporter.faces": 300}) is first
    other = guidance({"system.guidance.steps": 2})
    assert other is not first and guidance({}) is first
    weights = tmp_path / "weights"
    shutil.copytree(REPOSITORY / "load" / "nano" / "epidiff", weights)
    mine = {"system.guidance.weights": str(weights)}
    kept = guidance(mine)
    assert guidance(mine) is kept
    os.utime(weights / "config.json")
    assert guidance(mine) is not kept, "the file has changed"


def test_a_job_ends_where_it_is_asked_to(tmp_path: Path) -> None:
    stages: list[str] = []
    job = Job(config="epidiff-neus", inputs=[CAR], options=QUICK)
    with pytest.raises(Cancelled):
        run(
            job,
            tmp_path,
            tell=lambda done, total, label: stages.append(label),
            asked=lambda: stages[-1:] == ["fit"],
        )
    assert stages[-1] == "fit" and (tmp_path / "views" / "transforms.json").is_file()
    assert not (tmp_path / "model.glb").exists()


def test_a_shelf_keeps_what_was_used_last() -> None:
    shelf, made = Shelf(2), []
    for key in "abacab":
        shelf.get(key, lambda key=key: made.append(key))  # type: ignore[misc]
    assert made == ["a", "b", "c", "b"]


def test_texts_mean_what_they_mean_on_the_command_line() -> None:
    job = Job(options={"data.references": "[0,4]", "a": 1, "task.judge.protocol": "eschernet"})
    work = Work(job, [], Path(), "cpu", print, lambda: False, Shelf())
    assert work.options == {"data.references": Word("[0,4]"), "a": 1}
    assert work.options["data.references"].tree == ["0", "4"]
    assert task_options(job) == {"judge": {"protocol": "eschernet"}}


@pytest.mark.parametrize(
    ("job", "kind", "words"),
    [
        (Job(), ConfigError, "config has to be given"),
        (Job(config="epidiff-neus", text="a car"), DataError, "takes no text"),
        (Job(config="spad-neus", inputs=[CAR]), DataError, "takes a text"),
        (Job(config="epidiff-neu"), StudioError, "epidiff-neus"),
        (Job(task="evaluate", inputs=[CAR]), ConfigError, "two in all"),
        (Job(task="mak"), StudioError, "did you mean 'make'"),
        (Job(options={"task.preview": 1}), ConfigError, "task.previews"),
    ],
)
def test_mistakes_are_told(job: Job, kind: type[Exception], words: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=words):
        run(job, tmp_path)


def test_objects_are_measured(plain: Path, tmp_path: Path) -> None:
    pair = [str(plain / "model.glb")] * 2
    outcome = run(Job(task="evaluate", inputs=pair), tmp_path)
    assert outcome.figures["chamfer"] < 1e-3
    assert (tmp_path / "evaluation.json").is_file()
    views = ViewSet.load(plain / "views")
    assert len(views) == 16


def test_the_task_of_the_docs_works(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_plugins: None
) -> None:
    text = (REPOSITORY / "docs" / "jobs.md").read_text().partition("## A task of your own")[2]
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom" / "mine.py").write_text(text.split("```")[1].removeprefix("python\n"))
    monkeypatch.setenv("STUDIO_CUSTOM", str(tmp_path / "custom"))
    options = {"task.least": "1000000000"}
    job = Job(task="count-faces", inputs=[str(plain / "model.glb")], options=options)
    outcome = run(job, tmp_path / "result")
    assert 0 < outcome.figures["faces"] <= 400
    assert outcome.warnings == [f"only {outcome.figures['faces']} faces"]


def test_a_batch_of_pictures_makes_what_python_makes(plain: Path, tmp_path: Path) -> None:
    """A good one, its copy, one that is cut off, one that is too large."""
    inputs, out = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    content = Path(CAR).read_bytes()
    (inputs / "car.png").write_bytes(content)
    (inputs / "copy.png").write_bytes(content)
    (inputs / "cut.png").write_bytes(content[: len(content) // 2])
    Image.new("1", (17_000, 9)).save(inputs / "wide.png")
    options = [f"{key}={value}" for key, value in QUICK.items()]
    words = ["batch", str(inputs), "config=epidiff-neus", f"out={out}", "workers=1", "seed=3"]
    assert main([*words, *options]) == 3
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    found = {row["name"]: row for row in rows}
    assert {name: row["state"] for name, row in found.items()} == {
        **dict.fromkeys(("car", "copy"), "done"),
        **dict.fromkeys(("cut", "wide"), "failed"),
    }
    assert found["copy"]["same_as"] == "car"
    assert "broken or cut off" in found["cut"]["error"] and "16,384" in found["wide"]["error"]
    for name in ("car", "copy"):
        assert found[name]["result"] == f"{name}/result/model.glb"
        for file in ("model.glb", "views/images/000.png"):  # transforms.json names the input
            made = out / name / "result" / file
            assert made.read_bytes() == (plain / file).read_bytes(), made
    assert found["car"]["figures"]["seconds.fit"] > 0
    assert (out / "index.html").read_text().count("data:image/jpeg") == 2
