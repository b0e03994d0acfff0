"""The Python face does what the command line does, in memory."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import studio
from studio import progress
from studio.app.cli import main
from studio.errors import ConfigError, DataError, PluginError, WeightsError
from studio.export.contact_sheet import contact_sheet
from studio.export.readers import read_mesh
from studio.io.images import read_rgba
from tests.conftest import REPOSITORY, environment

CAR = REPOSITORY / "load" / "images" / "car.png"
SMALL = {
    "system.guidance.steps": 1,
    "system.geometry.levels": 2,
    "system.hull.fit_steps": 5,
    "system.samples_per_step": 512,
    "system.exporter.resolution": 24,
    "system.exporter.faces": 400,
    "system.exporter.texture_size": 64,
    "system.exporter.psnr_views": 0,
    "system.exporter.turntable": False,
    "trainer.max_steps": 10,
}


@pytest.fixture(scope="module")
def model() -> studio.Pipeline:
    return studio.load("epidiff-neus", SMALL, device="cpu")


@pytest.fixture(scope="module")
def result(model: studio.Pipeline) -> studio.Result:
    return model(CAR)


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Empty folders to work in and for temporary files; both are empty afterwards."""
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    yield here
    assert list(here.iterdir()) == []
    assert list(temporary.iterdir()) == []


def test_importing_is_quick_and_loads_nothing_heavy() -> None:
    code = "import sys, studio; print(sorted({'torch', 'numpy', 'diffusers'} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment()
    )
    assert answer.stdout.strip() == "[]", answer.stderr


def test_every_name_is_there() -> None:
    for name in studio.__all__:
        assert getattr(studio, name) is not None
        assert name in dir(studio)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        studio.nothing  # noqa: B018


def test_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((REPOSITORY / "docs/notebook.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "load").symlink_to(REPOSITORY / "load")
    names: dict[str, Any] = {}
    for cell in cells:
        exec("".join(cell["source"]).replace("settings = {}", f"settings = {SMALL!r}"), names)
    assert read_mesh(tmp_path / "car.glb").texture is not None
    assert names["result"].picture().width > 0
    assert 0 < names["figures"]["volume_iou"] <= 1


def test_the_example_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    example = next(iter(re.findall(r"```python\n(.*?)```", text, re.DOTALL)))
    assert "studio.load(" in example
    config = yaml.safe_load((REPOSITORY / "configs/epidiff-neus.yaml").read_text("utf-8"))
    for key, value in SMALL.items():
        *parents, last = key.split(".")
        target: Any = config
        for part in parents:
            target = target.setdefault(part, {})
        target[last] = value
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/epidiff-neus.yaml").write_text(yaml.safe_dump(config))
    Image.open(CAR).save("car.png")
    exec(example, {})
    assert read_mesh("car.glb").texture is not None


def test_it_is_what_the_command_line_makes(
    model: studio.Pipeline,
    result: studio.Result,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [f"{key}={value}" for key, value in SMALL.items()]
    words += [f"data.image={CAR}", "use_timestamp=false", "trainer.accelerator=cpu"]
    assert main(["run", "epidiff-neus", *words]) == 0
    folder = Path("outputs/epidiff-neus/default")
    views = studio.ViewSet.load(folder / "views")
    torch.testing.assert_close(result.views.images, views.images, rtol=0, atol=0)
    torch.testing.assert_close(result.views.cameras.c2w, views.cameras.c2w, rtol=0, atol=0)
    ours, theirs = read_mesh(result.save("ours")), read_mesh(folder / "export" / "model.glb")
    np.testing.assert_array_equal(ours.faces, theirs.faces)
    np.testing.assert_array_equal(ours.vertices, theirs.vertices)
    np.testing.assert_array_equal(ours.texture, theirs.texture)
    assert {"model.glb", "model.ply", "preview.png", "views"} <= {
        path.name for path in Path("ours").iterdir()
    }


def test_it_can_be_called_again_and_writes_nothing(
    away: Path, model: studio.Pipeline, result: studio.Result
) -> None:
    again = model(CAR)
    torch.testing.assert_close(again.views.images, result.views.images, rtol=0, atol=0)
    np.testing.assert_array_equal(again.mesh.vertices, result.mesh.vertices)
    assert again.mesh.texture is not None
    other = model.views(CAR, seed=1)
    assert not torch.equal(other.images, result.views.images)


@pytest.mark.parametrize("kind", ["pil", "array", "floats", "tensor", "list", "text"])
def test_a_picture_may_come_in_any_form(
    away: Path, model: studio.Pipeline, result: studio.Result, kind: str
) -> None:
    picture = Image.open(CAR)
    given = {
        "pil": picture,
        "array": np.asarray(picture),
        "floats": np.asarray(picture).astype(np.float32) / 255,
        "tensor": read_rgba(CAR),
        "list": [picture],
        "text": str(CAR),
    }[kind]
    views = model.views(given)
    torch.testing.assert_close(views.images, result.views.images, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"an array \(4, 4, 2\) is no picture"),
        (np.zeros((4, 4), np.int64), "an array of int64 is no picture"),
        (np.full((4, 4, 3), 2.0), r"leaves \[0, 1\]"),
        (torch.full((3, 4, 4), float("nan")), r"leaves \[0, 1\]"),
        (torch.zeros(5, 4, 4), r"a tensor \(5, 4, 4\) is no picture"),
        (3, "a int is no picture"),
        ([CAR, CAR], "2 pictures are given"),
        ("nothing.png", "nothing.png"),
        ("https://x.org/a.png", "is an address"),
        (np.zeros((0, 0, 3)), "is an empty picture"),
        (np.zeros((3, 3, 3), np.uint8), r"picture \(what was given\) is 3x3 px"),
    ],
)
def test_what_is_no_picture_is_refused(
    away: Path, model: studio.Pipeline, given: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        model.views(given)


def test_pil_pictures_are_turned_by_their_tag_and_may_have_any_mode(
    away: Path, model: studio.Pipeline, tmp_path: Path
) -> None:
    upright = Image.open(CAR).convert("RGBA")
    white = Image.new("RGBA", upright.size, "white")
    picture = Image.alpha_composite(white, upright).convert("RGB")
    tagged, tag = picture.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    tag[0x0112] = 6
    tagged.save(tmp_path / "turned.png", exif=tag)
    wanted = model.views(picture).images
    turned = model.views(Image.open(tmp_path / "turned.png")).images
    torch.testing.assert_close(turned, wanted, rtol=0, atol=0)
    for mode in ("CMYK", "YCbCr", "RGBX"):
        assert model.views(picture.convert(mode)).images.shape == wanted.shape
    with pytest.raises(DataError, match="of mode F is no picture"):
        model.views(picture.convert("F"))


def test_the_input_is_given_once(model: studio.Pipeline, result: studio.Result) -> None:
    with pytest.raises(ConfigError, match="given twice: as the first argument, and as image="):
        model.views(CAR, image=str(CAR))
    named = model.views(image=str(CAR))
    torch.testing.assert_close(named.images, result.views.images, rtol=0, atol=0)


@pytest.mark.parametrize(
    "numbers",
    [{"seed": -1}, {"seed": 1.5}, {"seed": "a"}, {"seed": 2**70}]
    + [{"seconds": float("nan")}, {"seconds": -1}, {"seconds": "x"}, {"steps": -1}],
)
def test_numbers_that_are_none_are_refused(model: studio.Pipeline, numbers: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(numbers))} is "):
        model(CAR, **numbers)


def test_another_scene_model_from_python(result: studio.Result) -> None:
    options = {"system.reconstruction_type": "visual-hull", "system.exporter.resolution": 24}
    hull = studio.reconstruct(result.views, options=options, device="cpu")
    assert type(hull.model).__name__ == "VisualHull"
    assert len(hull.mesh.faces) > 100


def test_what_a_capture_is_warned_of(result: studio.Result) -> None:
    small = {k: v for k, v in SMALL.items() if not k.startswith(("system.guidance", "trainer"))}
    fit = studio.reconstruct(result.views.select([0, 4]), steps=2, options=small, device="cpu")
    assert any("2 view" in line for line in fit.warnings), fit.warnings


def test_options_of_the_call_are_those_of_the_data(model: studio.Pipeline) -> None:
    with pytest.raises(ConfigError, match="did you mean 'data.elevation_deg'"):
        model.views(CAR, elevation=20)
    lower = model.views(CAR, elevation_deg=10)
    assert float(lower.meta["condition_cameras"]["c2w"][0][2][3]) < 0.3


def test_progress_and_cancelling(model: studio.Pipeline, result: studio.Result) -> None:
    told: list[tuple[int, int, str]] = []
    model(CAR, progress=lambda *step: told.append(step))
    labels = {label for _, _, label in told}
    assert {"reading the input", "views", "fit"} <= labels
    assert ("views" in labels) and (1, 1, "views") in told
    assert told[-1] == (10, 10, "fit")

    asked = threading.Event()

    def seen(done: int, total: int, label: str) -> None:
        if label == "fit" and done == 3:
            asked.set()

    with pytest.raises(studio.Cancelled, match="fit"):
        model(CAR, progress=seen, cancel=asked.is_set)
    files = set(Path(tempfile.gettempdir()).glob("studio-*"))

    def stop(done: int, total: int, label: str) -> None:
        if label == "fit" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model(np.asarray(Image.open(CAR)), progress=stop)
    assert set(Path(tempfile.gettempdir()).glob("studio-*")) <= files
    assert progress._listener.get() is None and not progress._active
    again = model(CAR)  # it can go on being used
    np.testing.assert_array_equal(again.mesh.vertices, result.mesh.vertices)


def test_a_notebook_shows_a_picture(result: studio.Result) -> None:
    assert result._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_sheet_says_what_is_wrong(result: studio.Result) -> None:
    plain = contact_sheet(result.mesh, result.views, result.system.picture())
    assert result.picture().height > plain.height
    warned = dataclasses.replace(result.findings, alarms=["the poses contradict the pictures"])
    assert result.system.notes(warned)[-1 - len(warned.warnings)].startswith("warning: the poses")


def test_a_capture_in_a_folder_or_in_memory(result: studio.Result, tmp_path: Path) -> None:
    small = {
        key: value
        for key, value in SMALL.items()
        if not key.startswith(("system.guidance", "trainer"))
    }
    folder = result.views.save(tmp_path / "capture").parent
    fits = [
        studio.reconstruct(given, steps=5, options=small, device="cpu")
        for given in (folder, result.views)
    ]
    assert len(fits[0].views) == 16
    np.testing.assert_array_equal(fits[0].mesh.vertices, fits[1].mesh.vertices)
    figures = studio.evaluate(fits[0].mesh, fits[1].mesh)["metrics"]
    assert figures["chamfer"] < 1e-3
    assert studio.evaluate(result.views, folder)["metrics"]["psnr"] == float("inf")


def test_one_stage_alone() -> None:
    method = studio.load_guidance("zero123", weights="load/nano/zero123-any", steps=1, device="cpu")
    condition = studio.Condition(image=torch.ones(4, 64, 64))
    views = method.generate(condition, generator=torch.Generator().manual_seed(0))
    assert views.images.shape[1:] == (4, 64, 64)


def test_a_folder_of_weights_is_enough() -> None:
    for name, method in (("epidiff", "epidiff"), ("eschernet", "eschernet"), ("spad", "spad")):
        model = studio.load(REPOSITORY / "load/nano" / name, device="cpu")
        assert model.config.system["guidance_type"] == method
    views = model.views("a red car", seed=0)
    assert len(views) == 8
    with pytest.raises(studio.Cancelled):
        model("a red car", cancel=lambda: True)


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean epidiff-neus"):
        studio.load("epidif-neus")
    with pytest.raises(ConfigError, match="the config is of type NoneType"):
        studio.load(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="progress is 5"):
        studio.load("epidiff-neus", progress=5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is trained, not called"):
        studio.load("train/nano-vae")
    with pytest.raises(ConfigError, match="did you mean 'system.guidance.steps'"):
        studio.load("epidiff-neus", {"system.guidance.stepps": 3})
    with pytest.raises(ConfigError, match="device is 'abacus'"):
        studio.load("epidiff-neus", device="abacus")
    with pytest.raises(WeightsError, match="a folder without weights"):
        studio.load(tmp_path)
    with pytest.raises(ConfigError, match=r"car.png is a picture, not a config[\s\S]*data.image="):
        studio.load(CAR)
    with pytest.raises(ConfigError, match=r"^geometry\.levels is -1"):
        studio.build("model", "sdf", {"geometry": {"levels": -1}})
    with pytest.raises(WeightsError) as told:
        studio.load_guidance("epidiff", weights="load/nano/epidiff", base="no/such-folder")
    assert "system." not in str(told.value)
    with pytest.raises(PluginError, match="did you mean 'geometry'"):
        studio.build("geometri", "hash-sdf")
