"""Scene models: one contract for fit, pictures, mesh, files; the systems that hold one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.app.cli import main
from studio.app.early_checks import check_early
from studio.cameras import orbit_cameras
from studio.config import load_experiment
from studio.errors import ConfigError, DataError, ExportError, PluginError, WeightsError
from studio.export.brought import without_seams
from studio.export.exporter import MeshExporter
from studio.export.readers import read_mesh
from studio.export.texture import bake_texture
from studio.export.unwrap import unwrap
from studio.mesh import Mesh, MeshOptions
from studio.metrics.image import psnr
from studio.metrics.solidity import solidity
from studio.models.base import SceneModel
from studio.models.hull.model import VisualHull
from studio.models.sdf.model import SDFModel
from studio.plugins import register
from studio.plugins.options import build
from studio.runs.folder import RUN_VARIABLE
from tests.conftest import REPOSITORY
from tests.unit.test_reconstruction import RADIUS, sphere_views

SMALL: dict[str, dict[str, Any]] = {
    "sdf": {
        "geometry": {"levels": 4, "max_resolution": 64, "log2_rows": 12, "hidden": 16},
        "renderer": {"grid_resolution": 32},
        "hull": {"resolution": 32, "fit_steps": 30},
        "samples_per_step": 1024,
        "min_rays": 32,
        "lr": 2e-2,
        "lr_end": 0.1,
    },
    "visual-hull": {"hull": {"resolution": 32}},
}
NAMES = tuple(SMALL)
BALL = 4 / 3 * np.pi * RADIUS**3


@pytest.fixture(scope="module", params=NAMES)
def fitted(request: pytest.FixtureRequest) -> SceneModel:
    torch.manual_seed(0)
    model: SceneModel = build("model", request.param, SMALL[request.param])
    return model.fit(sphere_views(), steps=60)


def same_pictures(one: SceneModel, other: SceneModel) -> None:
    cameras = orbit_cameras([20.0], 15.0, size=24)
    first, second = one.render(cameras), other.render(cameras)
    assert torch.equal(first.images, second.images) and first.bound == second.bound
    a, b = one.mesh(24, MeshOptions(faces=0)), other.mesh(24, MeshOptions(faces=0))
    assert np.array_equal(a.vertices, b.vertices)


# --- the contract ---------------------------------------------------------------------------------


def test_pictures_are_like_the_views(fitted: SceneModel) -> None:
    views = sphere_views()
    seen = fitted.render(views.cameras)
    assert seen.images.shape == views.images.shape and fitted.bound == views.bound
    covered = float(((seen.mask > 0.5) == (views.mask > 0.5)).float().mean())
    assert covered > 0.95 and psnr(seen.rgb_on(), views.rgb_on()) > 15
    grey = fitted.render(views.cameras[[0]], background=0.5)
    assert bool((grey.mask == 1).all())
    assert float((grey.images[0, :3, 0, 0] - 0.5).abs().max()) < 0.01  # a corner shows nothing
    assert seen.normals is not None
    ball = views.images[:, :3] * 2 - 1  # its colour is its normal
    inside = (views.mask > 0.5) & (seen.normals.norm(dim=1) > 0.5)
    assert float((seen.normals * ball).sum(1)[inside].mean()) > 0.85


def test_the_mesh_is_a_closed_ball_with_colours(fitted: SceneModel) -> None:
    mesh = fitted.mesh(32, MeshOptions(faces=1000))
    assert solidity(mesh)["watertight"] and 0.8 * BALL < mesh.volume < 1.35 * BALL
    assert mesh.normals is not None and len(mesh.faces) <= 1100
    points, normals = (torch.from_numpy(of) for of in (mesh.vertices, mesh.normals))
    colours = fitted.colour(points, normals)
    assert colours is not None and colours.shape == points.shape
    wanted = torch.nn.functional.normalize(points, dim=1) * 0.5 + 0.5
    assert float((colours - wanted).abs().mean()) < 0.15


def test_what_is_saved_is_loaded(fitted: SceneModel, tmp_path: Path) -> None:
    folder = fitted.save(tmp_path / "model")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    same_pictures(SceneModel.load(folder), fitted)
    assert type(type(fitted).load(folder)) is type(fitted)
    other = VisualHull if isinstance(fitted, SDFModel) else SDFModel
    with pytest.raises(WeightsError, match=f"not a {other.__name__}"):
        other.load(folder)
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {"model": "splatts"}))
    with pytest.raises(PluginError, match="splatts"):
        SceneModel.load(folder)
    (folder / "model.safetensors").unlink()
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(WeightsError, match="does not exist"):
        SceneModel.load(folder)


@pytest.mark.parametrize("name", NAMES)
def test_masks_that_say_nothing_are_refused(name: str) -> None:
    views = sphere_views()
    views.images[:, 3] = 0
    with pytest.raises(DataError, match="every mask"):
        build("model", name, SMALL[name]).fit(views, steps=5)


def test_models_are_made_without_a_config() -> None:
    assert SDFModel().cfg == SDFModel.Config() and VisualHull().progress == 0


# --- the fit --------------------------------------------------------------------------------------


def test_a_fit_needs_an_end_and_a_start() -> None:
    model = build("model", "sdf", SMALL["sdf"])
    with pytest.raises(ConfigError, match="neither steps nor seconds"):
        model.fit(sphere_views())
    with pytest.raises(RuntimeError, match="start"):
        model.step()
    model.fit(sphere_views(), seconds=0.2)  # time alone is an end, too
    assert model.done and model.fit_state()["step_count"] > 0


def test_progress_is_told_and_a_fit_can_be_cancelled() -> None:
    told: list[tuple[int, int, str]] = []
    model = build("model", "sdf", SMALL["sdf"])
    model.fit(
        sphere_views(),
        steps=12,
        progress=lambda *at: told.append(at),
        cancel=lambda: len(told) == 5,
    )
    assert told == [(i + 1, 12, "fit") for i in range(5)]
    assert not model.training and "5 of 12 steps" in model.findings()[0]
    assert model.mesh(16).volume > 0


def test_the_hull_of_views_from_above_ends_at_its_base() -> None:
    views = sphere_views(48).select([*range(8)])
    above = orbit_cameras([45.0 * i for i in range(8)], 35.0, size=48)
    seen = build("model", "visual-hull", SMALL["visual-hull"]).fit(sphere_views(48)).render(above)
    cone, flat = (
        build("model", "visual-hull", SMALL["visual-hull"] | {"flat_base": base}).fit(seen)
        for base in (False, True)
    )
    lowest = [float(model.mesh(32).vertices[:, 2].min()) for model in (cone, flat)]
    assert lowest[0] < -1.15 * RADIUS and lowest[0] < lowest[1] - 0.02 and lowest[1] < 0
    assert len(views) == 8


# --- the systems ----------------------------------------------------------------------------------


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> dict[str, Any]:
    """Run reconstruct.yaml on the ball and return what was measured."""
    monkeypatch.delenv(RUN_VARIABLE, raising=False)
    sphere_views(24).save(tmp_path / "set")
    bare = ["turntable=false", "resolution=24", "texture_size=64", "unwrap=box", "preview=false"]
    places = [f"data.root={tmp_path / 'set'}", f"exp_root_dir={tmp_path}", "use_timestamp=false"]
    config = str(REPOSITORY / "configs" / "reconstruct.yaml")
    options = [f"system.exporter.{word}" for word in bare]
    code = main(["--config", config, *places, *options, *words])
    assert code == 0
    figures = (tmp_path / "reconstruct" / "default" / "metrics.json").read_text()
    content: dict[str, Any] = json.loads(figures)
    return content


def test_figures_of_an_earlier_checkpoint_stand_beside_those_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("system.hull.fit_steps=20", "trainer.max_steps=40", "trainer.threads=1")
    words = (*few, "trainer.checkpoint_every=15", "data.holdout=4", "trainer.keep_checkpoints=3")
    (last,) = run(tmp_path, monkeypatch, "--train", "--validate", *words)["validate"]
    ckpts = tmp_path / "reconstruct" / "default" / "ckpts"
    steps = [int(path.stem.partition("=")[2]) for path in sorted(ckpts.glob("step=*.ckpt"))]
    assert steps == [15, 30, 40], "where they were asked for, whatever the blocks"
    assert capsys.readouterr().out.splitlines()[-1] == str(ckpts / "last.ckpt")
    early = ckpts / "step=00000015.ckpt"
    for _ in range(2):
        rows = run(tmp_path, monkeypatch, "--validate", f"resume={early}", *words)["validate"]
        assert [row["step"] for row in rows] == [15, 40] and rows[1] == last != rows[0]
        assert capsys.readouterr().out.splitlines()[-1] == str(early)
    on = (*words, f"resume={early}", "system.loss.colour=2")  # steps after it are made anew
    rows = run(tmp_path, monkeypatch, "--train", "--test", *on)["validate"]
    assert [row["step"] for row in rows] == [15]


def test_a_fit_that_its_seconds_end_says_so_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("system.hull.fit_steps=20", "trainer.max_steps=100000", "system.time_budget_s=0.3")
    run(tmp_path, monkeypatch, "--train", "--test", *words)
    said = capsys.readouterr().out
    assert "of 100,000 steps: the time budget of 0.3 s ended it" in said
    assert "test: there is nothing to measure on" in said


def test_a_checkpoint_of_another_model_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, monkeypatch, "--train", "system.hull.fit_steps=5", "trainer.max_steps=2")
    found = tmp_path / "reconstruct" / "default" / "ckpts" / "last.ckpt"
    config = str(REPOSITORY / "configs" / "reconstruct.yaml")
    monkeypatch.setattr("studio.systems.scene.SceneSystem.set_views", lambda *_: pytest.fail())
    for word in ("resume", "checkpoint"):
        monkeypatch.delenv(RUN_VARIABLE, raising=False)
        words = [f"{word}={found}", f"data.root={tmp_path / 'set'}", f"exp_root_dir={tmp_path}"]
        other = ["system.geometry_type=neus-mlp", "tag=other"][: 1 + (word == "checkpoint")]
        assert main(["--config", config, "--train", *words, *other]) == 2
    assert [path.name for path in (tmp_path / "reconstruct").iterdir()] == ["default"]


def test_the_visual_hull_takes_the_place_of_the_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hull = ("system.reconstruction_type=visual-hull", "system.hull.resolution=32")
    words = (*hull, "data.holdout=4")
    figures = run(tmp_path, monkeypatch, "--train", "--export", "--validate", *words)
    assert figures["watertight"] and figures["mesh_psnr"] > 15
    (row,) = figures["validate"]
    assert row["step"] == 1 and row["psnr"] > 12
    assert figures["warnings"] == []
    ckpts = tmp_path / "reconstruct" / "default" / "ckpts"
    assert torch.load(ckpts / "last.ckpt", weights_only=True)["global_step"] == 1
    written = (tmp_path / "reconstruct" / "default" / "configs" / "config.yaml").read_text()
    assert "reconstruction_type: visual-hull" in written and "geometry_type" not in written
    saved = (tmp_path / "reconstruct" / "default" / "export" / "model.ply").read_bytes()
    run(tmp_path, monkeypatch, "--export", *words)  # from the checkpoint
    again = tmp_path / "reconstruct" / "default" / "export" / "model.ply"
    assert read_mesh(again).vertices.shape and again.read_bytes() == saved


def test_a_checkpoint_of_before_there_were_models_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = Path(__file__).parent / "files" / "fit_before_models.ckpt"
    content = torch.load(old, weights_only=True)["state_dict"]
    assert "geometry.table" in content and not any(name.startswith("model.") for name in content)
    small = (
        "geometry.levels=2",
        "geometry.max_resolution=16",
        "geometry.log2_rows=6",
        "geometry.hidden=8",
        "renderer.grid_resolution=8",
        "hull.resolution=24",
    )
    words = [f"system.{word}" for word in small]
    figures = run(tmp_path, monkeypatch, "--export", f"checkpoint={old}", *words)
    assert figures["watertight"] and "(step 10)" in capsys.readouterr().out


# --- what a mesh brings ---------------------------------------------------------------------------


class Brings:
    """A model whose mesh has colours, and that knows none besides."""

    device = "cpu"

    def __init__(self, mesh: Mesh) -> None:
        self.own = mesh

    def mesh(self, resolution: int = 192, options: Any = None, *, report: Any = None) -> Mesh:
        return self.own

    def colour(self, points: torch.Tensor, normals: torch.Tensor) -> None:
        return None


@pytest.fixture(scope="module")
def ball() -> Mesh:
    """A ball whose vertices have the colours of its normals."""
    return build("model", "visual-hull", SMALL["visual-hull"]).fit(sphere_views()).mesh(24)


def export(mesh: Mesh, folder: Path, **options: Any) -> dict[str, Path]:
    bare = {"turntable": False, "preview": False, "inspect": False, "texture_size": 64}
    exporter = MeshExporter(MeshExporter.Config(**bare, unwrap="box", **options))  # type: ignore[arg-type]
    return exporter.export(Brings(mesh), sphere_views(), folder)


def test_a_texture_that_a_mesh_brings_is_written_as_it_is(ball: Mesh, tmp_path: Path) -> None:
    def stripes(points: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
        return (points[:, 2:] * 40).sin().expand(-1, 3) * 0.5 + 0.5

    textured = bake_texture(unwrap(replace(ball, colours=None), 64, method="box"), stripes, 64)
    written = export(textured, tmp_path)
    read = read_mesh(written["glb"])
    assert read.texture is not None and textured.texture is not None
    assert np.abs(read.texture.astype(int) - textured.texture.astype(int)).max() <= 1
    ply = read_mesh(written["ply"])
    assert solidity(ply)["watertight"] and len(ply.vertices) == len(ball.vertices)
    assert ply.colours is not None and without_seams(textured).colours is not None
    wanted = np.sin(ply.vertices[:, 2] * 40) * 0.5 + 0.5
    assert np.abs(ply.colours[:, 0] - wanted).mean() < 0.1


def test_vertex_colours_that_a_mesh_brings_are_baked(ball: Mesh, tmp_path: Path) -> None:
    written = export(ball, tmp_path, texture_source="field")
    read = read_mesh(written["glb"])
    assert read.texture is not None and len(np.unique(read.texture.reshape(-1, 3), axis=0)) > 50
    with pytest.raises(ExportError, match="gives neither colours"):
        export(replace(ball, colours=None), tmp_path)


# --- options beside the name ----------------------------------------------------------------------


@register("model", "clash")
class Clash(VisualHull):
    """Calls an option as the systems call theirs."""

    @dataclass
    class Config(VisualHull.Config):
        seed: int = 3


CONFIG = str(REPOSITORY / "configs" / "reconstruct.yaml")


@pytest.mark.parametrize(
    ("word", "error", "says"),
    [
        ("reconstruction_type=visual-hul", PluginError, "did you mean 'visual-hull'"),
        ("reconstruction_type=clash", PluginError, "system.seed would mean two things"),
        ("reconstruction.hull=1", ConfigError, "did you mean 'system.reconstruction_type'"),
        ("geometri_type=x", ConfigError, "did you mean 'system.geometry_type'"),
        ("time_budged_s=3", ConfigError, "did you mean 'system.time_budget_s'"),
        ("hull.agrement=1", ConfigError, "did you mean 'system.hull.agreement'"),
        ("lr=fast", ConfigError, "system.lr is 'fast'"),
    ],
)
def test_options_beside_the_name_are_checked(word: str, error: type, says: str) -> None:
    with pytest.raises(error) as caught:
        load_experiment(CONFIG, ["data.root=x", f"system.{word}"])
    assert says in str(caught.value)


def test_options_of_the_replaced_model_are_left_out_but_not_those_that_are_asked_for() -> None:
    hull = "system.reconstruction_type=visual-hull"
    system = load_experiment(CONFIG, ["data.root=x", hull, "system.flat_base=true"]).system
    assert system["hull"] == {"agreement": 1.0, "coverage": 0.9, "resolution": 96}
    assert system["flat_base"] is True and "renderer" not in system
    assert system["time_budget_s"] == 3600
    for word in ("system.lr=0.1", "system.hull.fit_steps=3"):
        with pytest.raises(ConfigError, match="is not an option"):
            load_experiment(CONFIG, ["data.root=x", hull, word])


def test_options_of_a_replaced_plugin_are_left_out_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = REPOSITORY / "configs" / "epidiff-neus.yaml"
    words = ["system.guidance_type=zero123", "data_type=capture", "data.root=x"]
    check_early(config, ["system.guidance_type=zero123", "data.image=load/images/car.png"])
    assert not caplog.messages  # it is said once
    experiment = load_experiment(config, words)
    guidance = experiment.system["guidance"]
    assert "base" not in guidance and guidance["steps"] == 3  # which both have
    assert "image" not in experiment.data and experiment.data["resolution"] == 64
    said = "\n".join(caplog.messages)
    assert "system.guidance_type is 'zero123' now, in place of 'epidiff'" in said
    assert "the latter: system.guidance.base" in said and "the latter: data.image" in said
    with pytest.raises(ConfigError, match="'system.guidance.base' is not an option"):
        load_experiment(config, [*words, "system.guidance.base=load/nano/zero123"])


@pytest.mark.parametrize(
    ("config", "words", "left"),
    [
        ("epidiff-neus", ["data_type=text", "data.text=a car"], {"image": "", "text": "a car"}),
        ("epidiff-neus", ["data_type=text", "data.image=mine.png"], {"image": "mine.png"}),
        ("reconstruct", ["data_type=colmap", "data.images=photos"], {"root": "mine"}),
    ],
)
def test_the_input_of_a_file_goes_with_the_data_plugin_that_takes_it(
    tmp_path: Path, config: str, words: list[str], left: dict[str, str]
) -> None:
    text = (REPOSITORY / "configs" / f"{config}.yaml").read_text()
    file = tmp_path / "own.yaml"
    file.write_text(text.replace("root: ???", "root: mine"))
    data = load_experiment(file, words).data
    assert {name: data[name] for name in left} == left


# --- models of others -----------------------------------------------------------------------------


def test_the_model_of_the_docs_is_one_file_in_custom(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clean_plugins: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (REPOSITORY / "docs" / "scene-models.md").read_text()
    (code,) = [part for part in page.split("```python\n") if '@register("model", "ball")' in part]
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom" / "ball.py").write_text(code.partition("```")[0])
    monkeypatch.chdir(tmp_path)
    words = ("system.reconstruction_type=ball", "system.scale=0.9", "--train")
    figures = run(tmp_path, monkeypatch, "--export", *words)
    assert figures["watertight"] and figures["mesh_psnr"] > 8
    assert 0.6 * BALL < figures["volume"] < 1.2 * BALL
    written = (tmp_path / "reconstruct" / "default" / "configs" / "config.yaml").read_text()
    assert "reconstruction_type: ball" in written and "scale: 0.9" in written
    fitted = build("model", "ball").fit(sphere_views(24))
    same_pictures(SceneModel.load(fitted.save(tmp_path / "ball")), fitted)
