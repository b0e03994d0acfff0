"""Turntable, contact sheet and the exporter as a whole."""

from __future__ import annotations

import builtins
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image

from studio.cameras import orbit_cameras
from studio.errors import ConfigError, ExportError, PluginError
from studio.export.contact_sheet import contact_sheet
from studio.export.exporter import MeshExporter
from studio.export.isosurface import extract_mesh
from studio.export.readers import read_mesh
from studio.export.sizes import fitting_size
from studio.export.texture import query_colours
from studio.export.turntable import fitted_orbit, paint, turntable_frames, write_video
from studio.mesh import Mesh
from studio.metrics.image import psnr
from studio.metrics.renders import mesh_psnr
from studio.metrics.solidity import solidity
from studio.ops.ray_caster import render_mesh
from studio.plugins.options import build
from studio.views import ViewSet


class Lamp:
    """A ball on a foot, coloured by position: no symmetry but about +Z."""

    device = "cpu"

    def mesh(self, resolution=192, options=None, *, report=None):
        faces = options.faces or None
        return extract_mesh(self.sdf, 0.5, resolution, faces=faces).with_normals()

    def sdf(self, points):
        ball = (points - torch.tensor([0.0, 0.05, 0.15])).norm(dim=1) - 0.22
        foot = (points.abs() - torch.tensor([0.25, 0.15, 10.0]))[:, :2].amax(1)
        foot = torch.maximum(foot, (points[:, 2] + 0.25).abs() - 0.1)
        pole = torch.maximum(points[:, :2].norm(dim=1) - 0.05, points[:, 2].abs() - 0.2)
        return torch.stack([ball, foot, pole]).amin(0)

    def gloss(self, points, normals, directions):
        return None

    def colour(self, points, normals):
        return (0.5 + points).clamp(0, 1)


@pytest.fixture(scope="module")
def lamp_views() -> ViewSet:
    mesh = extract_mesh(Lamp().sdf, 0.5, 96).with_normals()
    mesh = replace(mesh, colours=query_colours(mesh.vertices, mesh.normals, Lamp().colour))
    return render_mesh(mesh, orbit_cameras(range(0, 360, 40), 30.0, size=64), shading=False)


@pytest.fixture(scope="module")
def exporter() -> MeshExporter:
    options = {
        "resolution": 96,
        "faces": 4000,
        "texture_size": 256,
        "formats": ["glb", "ply", "obj"],
        "turntable_frames": 6,
        "turntable_size": 65,
    }
    return build("exporter", "mesh", options, key="system.exporter")


@pytest.fixture(scope="module")
def exported(tmp_path_factory, lamp_views, exporter) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("export")
    return exporter.export(Lamp(), lamp_views, folder, lamp_views.images[0])


def test_the_finished_file_is_measured_against_the_views(exported, exporter, lamp_views):
    figures = exporter.figures
    mesh = read_mesh(exported["glb"])
    assert figures["mesh_psnr"] == pytest.approx(mesh_psnr(mesh, lamp_views), abs=0.01)
    assert figures["mesh_psnr"] > 32 and figures["mesh_psnr_field"] > 32
    assert figures["mesh_faces"] == len(mesh.faces)
    assert {"surface", "unwrap", "views", "pictures"} <= set(figures["export_s"])
    turned = replace(mesh, vertices=mesh.vertices * np.float32([1, 1, -1]))
    assert mesh_psnr(turned, lamp_views) < 20  # upside down is noticed


def test_an_empty_picture_is_not_praised(exported, lamp_views):
    """The lamp covers little of the pictures, and is white on white for one of them."""
    mesh = read_mesh(exported["glb"])
    away = replace(mesh, vertices=mesh.vertices + np.float32([0, 0, 50]))
    assert mesh_psnr(away, lamp_views) < 10
    white = replace(lamp_views, images=lamp_views.images.clone())
    white.images[:, :3] = 1.0
    assert mesh_psnr(away, white) < 6
    nothing = replace(lamp_views, images=torch.zeros_like(lamp_views.images))
    assert mesh_psnr(away, nothing) == 0


def test_the_finished_file_is_a_solid(exported, exporter):
    figures = exporter.figures
    assert figures["watertight"] and figures["outward"] and figures["open_edges"] == 0
    assert figures["components"] == 1 and figures["volume"] > 0.03
    mesh = read_mesh(exported["glb"])
    assert not solidity(mesh.flipped())["outward"]
    holed = solidity(replace(mesh, faces=mesh.faces[1:]))
    assert not holed["watertight"] and holed["open_edges"] == 3
    far = np.concatenate([mesh.vertices, mesh.vertices + np.float32(2)])
    both = np.concatenate([mesh.faces, mesh.faces + len(mesh.vertices)])
    assert solidity(Mesh(far, both))["components"] == 2


def test_every_file_is_written_and_nothing_else_is_left(exported):
    written = exported
    assert set(written) == {"glb", "ply", "obj", "inspect", "turntable", "preview"}
    assert all(path.stat().st_size > 1000 for path in written.values())
    names = {path.name for path in written["glb"].parent.iterdir()}
    assert {path.name for path in written.values()} <= names
    assert not [name for name in names if name.startswith(".")]


@pytest.mark.parametrize("kind", ["glb", "obj", "ply"])
def test_the_mesh_read_back_looks_like_the_views(exported, lamp_views, kind):
    mesh = read_mesh(exported[kind])
    assert mesh.volume > 0
    again = render_mesh(mesh, lamp_views.cameras, shading=False)
    assert psnr(again.rgb_on(), lamp_views.rgb_on()) > 32


def test_video_has_all_frames_and_starts_fast(exported):
    path = exported["turntable"]
    assert iio.imread(path).shape == (6, 64, 130, 3)
    content = path.read_bytes()
    assert content.find(b"moov") < content.find(b"mdat")


def test_contact_sheet_is_a_white_page_with_pictures(exported):
    sheet = np.asarray(Image.open(exported["preview"]))
    assert (sheet[:10] == 255).all() and (sheet[:, :10] == 255).all()
    assert 0.1 < (sheet.min(-1) < 250).mean() < 0.8
    assert sheet.shape[1] > 1.5 * sheet.shape[0]


def test_sheet_without_views_shows_the_mesh_alone(exported):
    mesh = read_mesh(exported["glb"])
    alone = contact_sheet(mesh)
    assert alone.height < Image.open(exported["preview"]).height


def test_fitted_orbit_holds_the_whole_mesh(exported):
    mesh = read_mesh(exported["glb"])
    moved = replace(mesh, vertices=mesh.vertices * 7 + np.float32([3, -2, 5]))
    colour, shape = paint(moved, fitted_orbit(moved, [0, 50, 200], [-40, 0, 70], 48))
    for pictures in (colour, shape):
        border = np.concatenate([pictures[:, 0], pictures[:, -1]], 1)
        assert (border == 255).all()
        assert ((pictures < 250).any(-1).mean((1, 2)) > 0.1).all()


def test_without_ffmpeg_a_gif_is_written(exported, tmp_path, monkeypatch, caplog):
    real = builtins.__import__

    def no_ffmpeg(name, *args, **kwargs):
        if name == "imageio_ffmpeg":
            raise ImportError("imageio_ffmpeg is not installed")
        return real(name, *args, **kwargs)

    frames = turntable_frames(read_mesh(exported["glb"]), 3, 32)
    monkeypatch.setattr(builtins, "__import__", no_ffmpeg)
    path = write_video(frames, tmp_path / "turn.mp4")
    assert path.name == "turn.gif" and Image.open(path).n_frames == 3
    assert "not installed" in caplog.text


def test_no_frames_is_an_error(tmp_path):
    with pytest.raises(ExportError, match="no frames"):
        write_video(np.zeros((0, 4, 4, 3), np.uint8), tmp_path / "x.mp4")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"formats": []}, "formats is \[\]"),
        ({"texture_source": "sky"}, "auto, field, views"),
        ({"texture_margin": -1.0}, "texture_margin is -1.0"),
        ({"resolution": 0}, "resolution is 0"),
        ({"resolution": 999_999_999}, "8 to 4096"),
        ({"memory_gb": float("nan")}, "memory_gb is nan"),
        ({"turntable_frames": 0}, "turntable_frames is 0"),
        ({"unwrap": "fast"}, "allowed: box"),
        ({"world": "mars"}, "auto, ground, capture, views"),
        ({"height": -1.0}, "height is -1.0"),
        ({"height": 2.0, "world": "capture"}, "auto, ground or views"),
    ],
)
def test_unknown_options_name_the_allowed_ones(options, words):
    with pytest.raises((ConfigError, PluginError), match=words):
        build("exporter", "mesh", options)


def test_view_colours_need_views(tmp_path):
    exporter = MeshExporter(MeshExporter.Config(texture_source="views"))
    with pytest.raises(ConfigError, match="has none"):
        exporter.export(Lamp(), None, tmp_path)


def test_view_colours_are_written(tmp_path, lamp_views):
    config = MeshExporter.Config(
        resolution=64,
        faces=3000,
        texture_size=256,
        formats=["glb"],
        texture_source="views",
        unwrap="box",
        turntable=False,
        preview=False,
        inspect=False,
    )
    written = MeshExporter(config).export(Lamp(), lamp_views, tmp_path)
    assert list(written) == ["glb"] and [p.name for p in tmp_path.iterdir()] == ["model.glb"]
    again = render_mesh(read_mesh(written["glb"]), lamp_views.cameras, shading=False)
    assert psnr(again.rgb_on(), lamp_views.rgb_on()) > 28


@pytest.mark.parametrize(
    "value, words", [(1.0, "no surface"), (-1.0, "negative"), (float("nan"), "NaN")]
)
def test_a_failed_extraction_leaves_no_files(tmp_path, value, words):
    class Broken(Lamp):
        def sdf(self, points):
            return torch.full((len(points),), value)

    with pytest.raises(ExportError, match=words):
        MeshExporter(MeshExporter.Config()).export(Broken(), None, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_texture_is_as_fine_as_the_views():
    mesh = extract_mesh(Lamp().sdf, 0.5, 48)
    sizes = [
        fitting_size(mesh, render_mesh(mesh, orbit_cameras([0.0], 20.0, size=side)))
        for side in (32, 160, 320)
    ]
    assert sizes == [256, 512, 1024] and fitting_size(mesh, None) == 1024
