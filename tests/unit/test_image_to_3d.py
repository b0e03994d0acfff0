"""The chain from a picture to a mesh: what it makes, what it makes anew, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from studio.app.cli import main
from studio.export.readers import read_mesh
from studio.io.images import save_png
from studio.models.sdf.model import SDFModel
from studio.plugins.options import plain
from studio.runs import hashing
from studio.systems import generated
from studio.systems.generated import weight_paths
from studio.systems.image_to_3d import UNFITTED, ImageTo3D
from studio.views import ViewSet
from tests.unit.test_reconstruction import sphere_views

GUIDANCE = '''
from dataclasses import dataclass
from pathlib import Path

import torch

from studio.guidance.base import Guidance, ViewContract
from studio.plugins import register
from tests.unit.test_reconstruction import sphere_views


@register("guidance", "balls")
class Balls(Guidance):
    """Knows balls only; notes in calls.txt when it is asked."""

    @dataclass
    class Config:
        weights: str = ""
        radius: float = 0.3
        inputs: str = "image+images+text"

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.contract = ViewContract(inputs=tuple(cfg.inputs.split("+")))

    def generate(self, condition, cameras=None, *, generator=None, noise=None, progress=None):
        with Path("calls.txt").open("a") as stream:
            stream.write(f"{condition.elevation_deg:g}\\n")
        progress(1, 1)
        return sphere_views(radius=self.cfg.radius)

    def training_loss(self, batch, *, generator=None, noise=None):
        return {"loss": torch.zeros(())}

    def save_pretrained(self, folder):
        pass

    @classmethod
    def from_pretrained(cls, source):
        return cls(cls.Config())
'''

CONFIG = """\
name: ball
tag: run
use_timestamp: false
data_type: single-image
data: {image: ball.png, background: alpha, resolution: 32}
system_type: image-to-3d
system:
  guidance_type: balls
  guidance: {weights: weights}
  geometry: {levels: 4, max_resolution: 32, log2_rows: 10, hidden: 16}
  renderer: {grid_resolution: 16}
  hull: {resolution: 24, fit_steps: 10}
  samples_per_step: 512
  min_rays: 32
  exporter: {resolution: 24, formats: [ply], turntable: false, unwrap: box, texture_size: 64}
trainer: {max_steps: 10, accelerator: cpu, threads: 1}
"""

RUN = Path("outputs/ball/run")


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_plugins: None) -> Path:
    """A working folder with a guidance plugin, its weights, a picture and a config."""
    monkeypatch.chdir(tmp_path)
    plugin = tmp_path / "custom" / "balls"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text(GUIDANCE)
    (tmp_path / "ball.yaml").write_text(CONFIG)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.bin").write_bytes(b"one")
    picture = torch.full((4, 32, 32), 0.6)
    picture[3] = (torch.linspace(-1, 1, 32)[:, None].hypot(torch.linspace(-1, 1, 32)) < 0.7).float()
    save_png("ball.png", picture)
    return tmp_path


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files and folders that went into hashes."""
    names: list[str] = []
    feed = hashing._feed_path

    def noted(digest: hashlib._Hash, path: Path) -> None:
        names.append(path.name)
        feed(digest, path)

    monkeypatch.setattr(hashing, "_feed_path", noted)
    return names


def go(*words: str) -> int:
    os.environ.pop("STUDIO_RUN_DIR", None)
    try:
        return main(["--config", "ball.yaml", "--train", *words])
    finally:
        os.environ.pop("STUDIO_RUN_DIR", None)


def calls() -> int:
    return len(Path("calls.txt").read_text().splitlines())


def stamp(stage: str) -> str:
    return json.loads((RUN / "logs" / f"stage-{stage}.json").read_text())["key"]


def test_a_picture_becomes_a_mesh_and_finished_stages_are_kept(
    chain: Path, hashed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert go("--export") == 0
    assert hashed.count("model.bin") == 1  # weights can be large: read once for the stamp
    views = ViewSet.load(RUN / "views")
    assert len(views) == 11 and views.meta["condition"]["image"] == "ball.png"
    assert (RUN / "save" / "input.png").is_file()
    mesh = read_mesh(RUN / "export" / "model.ply")
    size = mesh.vertices.max(0) - mesh.vertices.min(0)
    assert ((size > 0.4) & (size < 0.8)).all()
    metrics = json.loads((RUN / "metrics.json").read_text())
    assert metrics["views_seconds"] >= 0 and metrics["train_seconds"] > 0
    assert calls() == 1
    keys, weights = (stamp("views"), stamp("train")), (RUN / "ckpts" / "last.ckpt").stat()

    capsys.readouterr()
    assert go() == 0  # the same again: nothing is redone
    said = capsys.readouterr().out
    assert "views: already made" in said and "training: already done" in said
    assert (RUN / "ckpts" / "last.ckpt").stat().st_mtime_ns == weights.st_mtime_ns
    assert calls() == 1

    assert go("system.lr=0.02") == 0  # a reconstruction's option: the second stage alone
    said = capsys.readouterr().out
    assert "views: already made" in said and "training: already done" not in said
    assert calls() == 1
    assert stamp("views") == keys[0] and stamp("train") != keys[1]

    (chain / "weights" / "model.bin").write_bytes(b"two")  # other weights: both stages
    assert go("system.lr=0.02", "trainer.max_steps=2") == 0
    assert "already" not in capsys.readouterr().out
    assert calls() == 2 and stamp("views") != keys[0]


def test_a_text_becomes_a_mesh(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("data_type=text", "data=null", "data={text: a  ball}")
    assert go("--export", *words) == 0
    assert (RUN / "save" / "input.txt").read_text() == "a ball\n"
    assert (RUN / "export" / "preview.png").is_file() and calls() == 1
    assert go(*words) == 0 and calls() == 1
    assert go("data_type=text", "data=null", "data={text: a cube}") == 0 and calls() == 2
    pictured = "data={text: a cube, image: ball.png, background: alpha, resolution: 32}"
    assert go("data_type=text", "data=null", pictured) == 0 and calls() == 3  # another condition
    assert go("data_type=text", "data=null", "data={text: ''}") == 2
    capsys.readouterr()
    assert go(*words, "system.guidance.inputs=image+images", "tag=other") == 2
    assert "cannot start from text" in capsys.readouterr().err


def test_posed_pictures_become_a_mesh(
    chain: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    overlaps = generated.outline_overlaps

    def counted(views: ViewSet) -> torch.Tensor:
        compared.append(len(views))
        return overlaps(views)

    monkeypatch.setattr(generated, "outline_overlaps", counted)
    far = sphere_views(radius=0.3)
    far = replace(far, cameras=far.cameras.scaled(2.0), bound=1.0)
    far.save(chain / "shots")
    words = ("data_type=posed-images", "data=null")
    given = "data={root: shots, references: [0, 5, 7], resolution: 32}"
    assert go("--export", *words, given) == 0
    assert compared == [3], "references are held against each other once"
    references = ViewSet.load(RUN / "save" / "references")
    distance = references.cameras.centres.norm(dim=1)
    assert len(references) == 3 and distance.mean() == pytest.approx(1.5, abs=1e-3)
    assert references.images.shape[-2:] == (32, 32)
    assert go(*words, given) == 0 and calls() == 1
    assert go(*words, given.replace("7", "8")) == 0 and calls() == 2
    assert go(*words, given.replace("7", "70")) == 2
    assert "0 to 10" in capsys.readouterr().err


def test_an_edited_plugin_is_run_again(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert go() == 0 and go() == 0
    assert calls() == 1 and "training: already done" in capsys.readouterr().out
    plugin = chain / "custom" / "balls" / "__init__.py"
    plugin.write_text(plugin.read_text().replace("radius=self", "radius=1.0 * self"))
    assert go() == 0 and calls() == 2
    assert go() == 0 and calls() == 2


def test_every_option_counts_for_the_fit_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.systems.image_to_3d.source_hash", lambda *_, **__: source)
    source = "one"
    defaults, run = ImageTo3D.Config(), SimpleNamespace(views=tmp_path)

    def key(cfg: object) -> str:
        held = SimpleNamespace(cfg=cfg, run=run, originals=[], seed=cfg.seed)  # type: ignore[attr-defined]
        return ImageTo3D.train_key(held)  # type: ignore[arg-type]

    for option in fields(defaults):
        value = getattr(defaults, option.name)
        other = "visual-hull" if option.name == "reconstruction_type" else different(value)
        changed = key(replace(defaults, **{option.name: other})) != key(defaults)
        assert changed is (option.name not in UNFITTED), option.name
    assert set(UNFITTED) <= {option.name for option in fields(defaults)}
    beside = plain(SDFModel.Config())
    whole = key(replace(defaults, reconstruction=beside))
    for name, value in beside.items():
        changed = key(replace(defaults, reconstruction=beside | {name: different(value)})) != whole
        assert changed is (name != "flat_base"), name
    before, source = key(defaults), "two"
    assert key(defaults) != before


def different(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    return {"a": 1} if isinstance(value, dict) else [1.0]


def test_weights_that_weights_name_count(tmp_path: Path) -> None:
    for name in ("blocks", "base", "vae"):
        (tmp_path / name).mkdir()
    config = {"base": "../base", "settings": "right", "zero123": {"vae_weights": "../vae"}}
    (tmp_path / "blocks" / "config.json").write_text(json.dumps(config))
    options = {"weights": str(tmp_path / "blocks"), "steps": 5, "base": "", "size": "nano"}
    found = [path.resolve().name for path in weight_paths(options)]
    assert found == ["blocks", "base", "vae"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("data_type=epidiff-views", "data={}"), "cannot read data_type 'epidiff-views'"),
        (("data.image=none.png",), "none.png does not exist"),
        (("system.guidance_type=bals",), "did you mean 'balls'"),
        (("system.guidance.radius=big",), "system.guidance.radius"),
    ],
)
def test_mistakes_leave_nothing(
    chain: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str
) -> None:
    assert go(*words) == 2
    error = capsys.readouterr().err
    assert text in error and "Traceback" not in error
    assert not Path("outputs").exists()
