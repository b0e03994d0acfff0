"""Docs lead where they say, and what they tell a contributor to write and run works."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from diffusers import DDIMScheduler

import studio
from studio.errors import ConfigError
from studio.export.texture import TextureBaker
from studio.mesh import Mesh
from studio.plugins import discovery as plugins
from studio.plugins.discovery import find
from studio.plugins.options import build
from studio.views import Condition, ViewSet
from tests.conftest import REPOSITORY, Launch
from tests.unit.test_writers import textured_box

PAGES = sorted(
    page.relative_to(REPOSITORY).as_posix()
    for page in (
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").rglob("*.md"),
        *(REPOSITORY / "custom").glob("*.md"),
    )
)
CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text()
PYTHON = (REPOSITORY / "docs/python.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str) -> list[list[str]]:
    lines = "\n".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


# --- pages --------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_and_headings(name: str) -> None:
    page = REPOSITORY / name
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\((?![a-z]+:)([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        there = (page.parent / target).resolve() if target else page
        assert there.is_file(), f"{name} links to {link}"
        assert not anchor or anchor in anchors(there), f"{name} links to {link}"


def test_api_pages_name_modules_that_exist() -> None:
    named = []
    for page in (REPOSITORY / "docs/api").glob("*.md"):
        named += re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
    assert {"studio", "studio.cameras", "studio.views", "studio.guidance.base"} <= set(named)
    assert [module for module in named if importlib.util.find_spec(module) is None] == []


def test_the_site_shows_every_page_once() -> None:
    text = (REPOSITORY / "mkdocs.yml").read_text()
    shown = re.findall(r"[\w/-]+\.md", text.partition("\nnav:")[2])
    docs = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert len(shown) == len(set(shown))
    assert docs <= set(shown)


# --- papers and versions ------------------------------------------------------------------------


def test_the_citation_names_version_and_papers() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == studio.__version__
    cited = {entry["identifiers"][0]["value"] for entry in citation["references"]}
    tables = (REPOSITORY / "README.md").read_text().partition("## Bring your own")[0]
    papers = set(re.findall(r"arxiv\.org/abs/([\d.]+)", tables))
    assert len(papers) > 8
    assert {f"arXiv:{paper}" for paper in papers} <= cited


def test_the_changelog_knows_this_version() -> None:
    versions = re.findall(r"^## \[(.+?)\]", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] in {"Unreleased", studio.__version__}
    assert studio.__version__ in versions


# --- CONTRIBUTING -------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_its_make_commands_exist() -> None:
    targets = [words[1] for words in commands(CONTRIBUTING) if words[0] == "make"]
    assert {"setup", "test", "lint", "docs", "dist"} <= set(targets)
    dry = subprocess.run(
        ["make", "--dry-run", *targets], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert dry.returncode == 0, dry.stderr


def test_its_pytest_commands_name_files_and_markers() -> None:
    calls = [words for words in commands(CONTRIBUTING) if words[1:3] == ["-m", "pytest"]]
    assert calls
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["pytest"]
    markers = {line.partition(":")[0] for line in settings["ini_options"]["markers"]}
    for words in calls:
        assert (REPOSITORY / words[-1]).is_file()
        assert "-m" not in words[3:] or words[words.index("-m", 3) + 1] in markers


@pytest.fixture
def custom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_plugins: None) -> Path:
    """A working folder whose custom/ holds every plugin of CONTRIBUTING.md."""
    (tmp_path / "custom").mkdir()
    for code in blocks(CONTRIBUTING, "python"):
        name = code.splitlines()[0].removeprefix("# ")
        (tmp_path / name).write_text(code)
    monkeypatch.chdir(tmp_path)
    plugins.reset()
    return tmp_path


def test_its_plugins_are_found(custom: Path) -> None:
    theirs = {
        *(("guidance", "tinted"), ("noise-schedule", "shifted"), ("data", "poses-json")),
        *(("geometry", "ellipsoid"), ("renderer", "volsdf"), ("loss", "mirror")),
        *(("format", "off"), ("baker", "smooth"), ("exporter", "point-cloud")),
    }
    listed = [row for row in plugins.listing() if (row.kind, row.name) in theirs]
    assert len(listed) == len(theirs) == len(blocks(CONTRIBUTING, "python"))
    assert all(row.summary and not row.error for row in listed)
    assert not plugins.catalogue().failures


def test_its_guidance_makes_views_learns_and_is_saved(custom: Path) -> None:
    guidance = build("guidance", "tinted")
    condition = Condition(image=torch.full((4, 32, 32), 0.5))
    views = guidance.generate(condition)
    assert isinstance(views, ViewSet)
    assert views.images.shape == (8, 4, 64, 64)
    batch = {"cond_image": torch.zeros(2, 3, 8, 8), "images": torch.full((2, 4, 3, 8, 8), 0.4)}
    optimizer = torch.optim.SGD(guidance.parameters(), lr=1.0)
    losses = []
    for _ in range(20):
        loss = guidance.training_loss(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]
    guidance.save_pretrained("saved")
    again = type(guidance).from_pretrained("saved").generate(condition)
    assert torch.equal(again.images, guidance.generate(condition).images)
    assert again.images[0, 0, 0, 0] > views.images[0, 0, 0, 0]


def test_its_noise_schedule_is_taken_by_name_saved_and_refused_what_it_does_not_know(
    custom: Path,
) -> None:
    options = {"beta_schedule": "shifted", "prediction_type": "sample", "size": "nano"}
    plain = build("guidance", "zero123", options)
    more = build("guidance", "zero123", {**options, "beta_options": {"shift": "8"}})
    left = [method.schedule.alphas_cumprod for method in (plain, more)]
    assert (left[0].diff() <= 0).all() and left[0][0] > 0.99 and left[0][-1] < 1e-3
    assert (left[1][1:] < left[0][1:]).all()
    more.save_pretrained("saved")
    again = build("guidance", "zero123", {"weights": "saved"})
    assert torch.equal(again.schedule.alphas_cumprod, left[1])
    theirs = DDIMScheduler.from_pretrained("saved/scheduler").alphas_cumprod
    torch.testing.assert_close(theirs, left[1], atol=1e-6, rtol=1e-4)
    for wrong in ({"shft": 2}, {"shift": "much"}, {"beta_start": 0.1}):
        with pytest.raises(ConfigError, match=f"beta_options.*{next(iter(wrong))}"):
            build("guidance", "zero123", {**options, "beta_options": wrong})
    with pytest.raises(ConfigError, match="pure noise"):
        build(
            "guidance", "zero123", options | {"beta_schedule": "jsd", "prediction_type": "epsilon"}
        )


def test_its_format_is_written_by_name(custom: Path) -> None:
    corners = np.eye(3)
    Mesh(corners, np.array([[0, 1, 2]])).save("triangle.off")
    assert Path("triangle.off").read_text().split() == (
        "OFF 3 1 0  1 0 0  0 1 0  0 0 1  3 0 1 2".split()
    )


def test_its_loss_is_what_a_field_and_its_mirror_image_differ_by(custom: Path) -> None:
    points = torch.tensor([[0.2, 0.3, 0.0], [-0.5, -0.1, 0.4]])
    field = SimpleNamespace(sdf=points[:, 1] ** 3)
    geometry = SimpleNamespace(sdf=lambda x: x[:, 1] ** 3)
    seen = SimpleNamespace(random_due=True, random_field=(points, field), geometry=geometry)
    assert build("loss", "mirror")(seen).item() == pytest.approx(0.027 + 0.001)
    assert build("loss", "mirror", axis="x")(seen) == 0
    seen.random_due = False
    assert build("loss", "mirror")(seen) is None


def test_its_baker_averages_what_the_finer_texture_shows(custom: Path) -> None:
    def stripes(points: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
        return (points[:, :1] * 70).sin().gt(0).float().expand(-1, 3)

    box, smooth = textured_box(), find("baker", "smooth")
    coarse, fine, mean = (
        baker.textured(baker.query(stripes)).texture / 255
        for baker in (
            TextureBaker(box, 64),
            TextureBaker(box, 128),
            find("baker", "smooth")(box, 64),
        )
    )
    assert mean.shape == coarse.shape == (64, 64, 3)
    assert np.abs(mean - fine.reshape(64, 2, 64, 2, 3).mean((1, 3))).max() < 0.003
    between = (mean > 0.1) & (mean < 0.9)
    sharp = (coarse > 0.1) & (coarse < 0.9)  # at seams alone, which are levelled
    assert between.mean() > 0.05 and sharp.mean() < 0.3 * between.mean()
    small = {"resolution": 32, "unwrap": "box", "texture_size": 64}
    exporter = build("exporter", "mesh", small, baker="smooth")
    hull = build("model", "visual-hull").fit(ViewSet.load(REPOSITORY / "load/posed/car"))
    assert exporter.baker is smooth and exporter.mesh(hull).texture is not None


def test_its_geometry_is_fitted_as_the_page_on_python_says(custom: Path) -> None:
    (code,) = (part for part in blocks(PYTHON, "python") if 'geometry_type="ellipsoid"' in part)
    ViewSet.load(REPOSITORY / "load/posed/car").save("capture")
    known: dict[str, Any] = {"studio": studio}
    few = 'geometry_type="ellipsoid", hull={"fit_steps": 20}).fit(views, steps=5)'
    exec(code.replace('geometry_type="ellipsoid").fit(views, steps=300)', few), known)
    assert Path("ellipsoid.glb").stat().st_size > 1000
    length, width, height = sorted(known["model"].geometry.axes.tolist(), reverse=True)
    assert length > width + 0.02 and height != 0.6


def test_its_other_plugins_fit_a_capture_together(custom: Path, launch: Launch) -> None:
    views = ViewSet.load(REPOSITORY / "load/posed/car")
    views.save("capture")
    images = {path.name: path for path in sorted(Path("capture").rglob("*.png"))}
    poses = {}
    for (name, path), c2w, k in zip(
        images.items(), views.cameras.c2w, views.cameras.intrinsics, strict=True
    ):
        path.rename(Path("capture", name))
        poses[name] = {"c2w": c2w.tolist(), "focal": k[0, 0].item()}
    Path("capture/transforms.json").unlink()
    Path("capture/poses.json").write_text(json.dumps(poses))

    (words,) = [words for words in commands(CONTRIBUTING) if "launch.py" in words]
    given = [word.replace("FOLDER", "capture") for word in words[2:]]
    done = launch(
        *(str(REPOSITORY / word) if word.startswith("configs/") else word for word in given),
        *("trainer.max_steps=30", "use_timestamp=false", "trainer.threads=1"),
    )
    assert done.returncode == 0, done.stderr
    run = Path("outputs/reconstruct/default")
    assert len((run / "export/points.xyz").read_text().splitlines()) > 500
    assert json.loads((run / "metrics.json").read_text())["points"] > 500
    assert "train/mirror" in (run / "logs/metrics.csv").read_text().splitlines()[0].split(",")
