"""A mesh is as fine as the pictures, and is measured beside the fit that it was made of."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.cameras import Cameras, orbit_cameras
from studio.export.exporter import MeshExporter
from studio.export.isosurface import extract_mesh
from studio.export.measuring import FIT_PIXELS, LOSS, beside_fit
from studio.export.sizes import fitting_cells
from studio.export.texture import query_colours
from studio.mesh import Mesh, MeshOptions
from studio.metrics.renders import mesh_psnr
from studio.ops.ray_caster import render_mesh
from studio.plugins.options import build
from studio.views import ViewSet

USUAL = MeshOptions()
BARE = {"turntable": False, "preview": False, "inspect": False, "texture_size": 128}


class Striped:
    """A ball with stripes, which can be looked at as it was fitted."""

    device = torch.device("cpu")

    def mesh(
        self, resolution: int = 192, options: MeshOptions = USUAL, *, report: Any = None
    ) -> Mesh:
        self.asked = resolution
        ball = lambda at: at.norm(dim=1) - 0.4  # noqa: E731
        return extract_mesh(ball, 0.5, resolution, faces=options.faces or None).with_normals()

    def colour(self, points: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
        return 0.5 + 0.4 * torch.sin(40 * points[:, 2:]).expand(-1, 3)

    def gloss(self, *_: torch.Tensor) -> None:
        return None

    def render(self, cameras: Cameras, background: float | None = None) -> ViewSet:
        assert background is None  # of the object alone
        return render_mesh(painted(), cameras, shading=False)


@cache
def painted() -> Mesh:
    mesh = Striped().mesh(96, MeshOptions(0))
    assert mesh.normals is not None
    return replace(mesh, colours=query_colours(mesh.vertices, mesh.normals, Striped().colour))


@cache
def pictures(side: int, count: int = 8) -> ViewSet:
    return Striped().render(orbit_cameras(range(0, 360, 360 // count), 20.0, size=side))


@pytest.mark.parametrize("side", [64, 400, 1200])
def test_a_cell_of_the_grid_is_a_pixel_of_the_object(side: int) -> None:
    views = pictures(side, 1)
    box = torch.nonzero(views.mask[0] > 0.5)
    longest = int((box.max(0).values - box.min(0).values).max()) + 1
    wanted = {64: 192, 400: longest, 1200: 512}[side]
    assert fitting_cells(views) == wanted and 192 <= wanted <= 512


def test_one_wrong_mask_does_not_make_the_grid_finer_and_empty_ones_are_no_object() -> None:
    views = pictures(400, 1).select([0] * 20)
    usual = fitting_cells(views)
    images = views.images.clone()
    images[3, 3] = 1.0
    assert 192 < usual == fitting_cells(replace(views, images=images)) < 400
    assert fitting_cells(replace(views, images=torch.zeros_like(images))) == 192
    assert fitting_cells(None) == 192


def test_the_exporter_takes_as_many_cells_unless_it_is_told(tmp_path: Path) -> None:
    source, views = Striped(), pictures(300, 1)
    for given, wanted in ((None, fitting_cells(views)), (48, 48)):
        options = BARE | {"resolution": given, "faces": 600, "psnr_views": 0}
        exporter: MeshExporter = build("exporter", "mesh", options)
        exporter.export(source, views, tmp_path / str(given))
        assert exporter.figures["grid_cells"] == source.asked == wanted


def test_mesh_and_fit_are_measured_alike() -> None:
    views, mesh = pictures(48), painted()
    views = replace(views, images=(views.images - 0.1 * (views.mask[:, None] > 0)).clamp(0, 1))
    found = beside_fit(Striped(), mesh, views)
    assert found["views"] == 4
    assert found["fit_psnr"] == pytest.approx(found["mesh_psnr"], abs=1e-3)
    assert found["mesh_psnr"] == pytest.approx(mesh_psnr(mesh, views, 4), abs=1e-3)
    large = pictures(int((FIT_PIXELS / 2) ** 0.5), 3)
    assert beside_fit(Striped(), mesh, large)["views"] == 2


def test_a_mesh_that_is_clearly_worse_than_its_fit_is_told_with_figures(tmp_path: Path) -> None:
    views = pictures(64)
    said = {}
    for faces in (200, 4000):
        options = BARE | {"resolution": 48, "faces": faces, "texture_source": "field"}
        options |= {"texture_size": 16 if faces == 200 else 256}
        exporter: MeshExporter = build("exporter", "mesh", options)
        exporter.export(Striped(), views, tmp_path / str(faces))
        said[faces] = exporter.figures["warnings"], exporter.figures["beside_fit"]
    (warning,), found = said[200]
    assert found["fit_psnr"] - found["mesh_psnr"] > LOSS
    assert f"{found['mesh_psnr']:.1f} dB" in warning and f"{found['fit_psnr']:.1f} dB" in warning
    assert "exporter.resolution" in warning
    assert said[4000][1]["mesh_psnr"] > found["mesh_psnr"] + LOSS
