"""A kind of file, a layout of captures, an unwrapping, a baker: one file in custom/ each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.cameras import orbit_cameras
from studio.data.layouts.capture import layouts, recognise
from studio.errors import ConfigError, DataError, PluginError
from studio.export.exporter import MeshExporter
from studio.export.readers import read_mesh
from studio.ops.ray_caster import render_mesh
from studio.plugins import discovery as plugins
from studio.plugins.options import build
from tests.unit.test_preview import Lamp, lamp_views  # noqa: F401  (a fixture)
from tests.unit.test_writers import textured_box

FORMAT = '''
from studio.export.formats.base import MeshFormat
from studio.plugins import register


@register("format", "corners")
class Corners(MeshFormat):
    """A line for each corner."""

    suffix = ".xyz"
    beside = (".txt",)

    def encode(self, mesh, name, notes):
        rows = "".join("%.9g %.9g %.9g\\n" % tuple(v) for v in mesh.vertices.tolist())
        return {name: rows.encode(), name.replace(".xyz", ".txt"): notes.name.encode()}
'''

BARE = {
    "resolution": 32,
    "faces": 500,
    "turntable": False,
    "preview": False,
    "inspect": False,
    "psnr_views": 2,
}


@pytest.fixture
def custom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_plugins: None
) -> Callable[[str, str], None]:
    """Write a file into custom/ of an empty working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "custom").mkdir()

    def put(name: str, source: str) -> None:
        (tmp_path / "custom" / name).write_text(source)
        plugins.reset()

    return put


def test_an_export_writes_a_format_of_ones_own(custom, lamp_views, tmp_path) -> None:  # noqa: F811
    custom("corners.py", FORMAT)
    exporter = build("exporter", "mesh", {**BARE, "formats": ["corners"]}, key="system.exporter")
    folder = tmp_path / "export"
    written = exporter.export(Lamp(), lamp_views, folder)
    assert written == {"corners": folder / "model.xyz"}
    assert sorted(p.name for p in folder.iterdir()) == ["model.txt", "model.xyz"]
    assert np.abs(np.loadtxt(folder / "model.xyz")).max() <= 0.5
    figures = exporter.figures  # nobody reads such files
    assert figures["measured"] == "the mesh itself: model.xyz cannot be read back"
    assert figures["watertight"] and figures["mesh_psnr"] > 20
    assert figures["files"]["model.xyz"]["up"] == "+z"
    build("exporter", "mesh", {**BARE, "formats": ["stl"]}).export(Lamp(), lamp_views, folder)
    assert [p.name for p in folder.iterdir()] == [
        "model.stl"
    ]  # of the earlier export, none is left


def test_a_mesh_is_saved_in_a_format_of_ones_own(custom, tmp_path) -> None:
    custom("corners.py", FORMAT)
    box = textured_box()
    assert box.save("deep/box.xyz", format="corners") == Path("deep/box.xyz")
    np.testing.assert_array_equal(np.loadtxt("deep/box.xyz", dtype=np.float32), box.vertices)
    custom("corners.py", FORMAT.replace('"corners"', '"xyz"'))
    assert box.save("box.XYZ") == Path("box.XYZ")
    with pytest.raises(PluginError, match=r"suffix of a/car.gbl is 'gbl'(.|\n)*glb(.|\n)*'glb'\?"):
        box.save("a/car.gbl")
    assert not Path("a").exists()


def test_unknown_formats_name_the_near_miss(custom) -> None:
    custom("corners.py", FORMAT)
    words = r"formats\[1\] is 'corner'(.|\n)*3mf, corners, glb(.|\n)*did you mean 'corners'\?"
    with pytest.raises(PluginError, match=words):
        build("exporter", "mesh", {"formats": ["glb", "corner"]}, key="system.exporter")
    custom("ply2.py", FORMAT.replace('"corners"', '"ply2"').replace(".xyz", ".ply"))
    with pytest.raises(ConfigError, match=r"two of them write model\.ply"):
        MeshExporter(MeshExporter.Config(formats=["ply", "ply2"]))


def test_what_is_no_format_is_refused_before_anything_is_made(custom) -> None:
    custom("corners.py", FORMAT.replace("(MeshFormat)", ""))
    with pytest.raises(PluginError, match="'corners' .*Corners.* is no MeshFormat"):
        build("exporter", "mesh", {"formats": ["corners"]})
    custom("corners.py", FORMAT.replace("import register", "import register\nimport nothing_such"))
    with pytest.raises(PluginError, match=r"custom/corners\.py.*nothing_such"):
        build("exporter", "mesh", {"formats": ["corners"]})


LAYOUT = '''
from pathlib import Path

from studio.cameras import orbit_cameras
from studio.data.layouts.base import LayoutData, pictures_in
from studio.plugins import register
from studio.captures.shots import Scene, Shot


@register("data", "turntable")
class Turntable(LayoutData):
    """Pictures of a turntable, from the front anticlockwise."""

    looks_for = "turntable.txt beside pictures"

    @classmethod
    def recognises(cls, root):
        return (root / "turntable.txt").is_file()

    def scene(self, split="train"):
        if split != "train":
            return None
        files = pictures_in(Path(self.cfg.root))
        turns = [360 * i / len(files) for i in range(len(files))]
        rig = orbit_cameras(turns, 20.0, size=48)
        shots = [
            Shot(f.stem, f, c2w, k, (48, 48))
            for f, c2w, k in zip(files, rig.c2w, rig.intrinsics, strict=True)
        ]
        return Scene(Path(self.cfg.root), shots, bound=0.5)
'''

NO_LAYOUT = '''
from studio.data.base import ConditionData
from studio.plugins import register

raise RuntimeError("imported for nothing")


@register("data", "asked-otherwise")
class Asked(ConditionData):
    """No layout, as its base shows."""
'''


@pytest.fixture
def turntable(tmp_path: Path) -> Path:
    """Five cut-out pictures, which would pass for photos."""
    root = tmp_path / "capture"
    root.mkdir()
    mesh = textured_box()
    mesh = replace(mesh, vertices=mesh.vertices - mesh.vertices.mean(0))
    views = render_mesh(mesh, orbit_cameras([0, 72, 144, 216, 288], 20.0, size=48), shading=False)
    for i, image in enumerate(views.images):
        pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()
        Image.fromarray(pixels).save(root / f"{i}.png")
    return root


def test_a_capture_of_a_layout_of_ones_own_is_recognised(custom, turntable, caplog) -> None:
    assert recognise(turntable) == "photos"
    (turntable / "turntable.txt").write_text("")
    custom("no_layout.py", NO_LAYOUT)
    custom("broken.py", LAYOUT.replace("turntable", "broken").replace("import Scene", "import No"))
    custom("turntable.py", LAYOUT)
    views = build("data", "capture", {"root": str(turntable)}, key="data").load()
    expected = orbit_cameras([0, 72, 144, 216, 288], 20.0, size=48)
    np.testing.assert_allclose(views.cameras.c2w, expected.c2w, atol=1e-5)
    assert views.bound == 0.5 and views.names == ("0", "1", "2", "3", "4")
    assert "layout 'broken' is not asked: " in caplog.text and "custom/broken.py" in caplog.text
    assert "imported for nothing" not in caplog.text
    assert not any("no_layout" in name for name in sys.modules)


def test_a_layout_of_ones_own_says_what_it_looks_for(custom, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    custom("turntable.py", LAYOUT)
    words = "holds nothing(.|\n)*turntable: turntable.txt beside pictures(.|\n)*photos: 3 or more"
    with pytest.raises(DataError, match=words):
        recognise(tmp_path / "empty")
    custom("turntable.py", LAYOUT.replace("looks_for", "priority = 5\n    looks_for"))
    assert list(layouts())[-2:] == ["photos", "turntable"]


BAKING = '''
import numpy as np

from studio.export.texture import TextureBaker
from studio.export.unwrap import Unwrapper, cut_along
from studio.plugins import register


@register("unwrap", "each-face")
class EachFace(Unwrapper):
    """A cell of a grid for every face."""

    def unwrap(self, mesh, size, padding=4):
        count = len(mesh.faces)
        side = int(np.ceil(np.sqrt(count)))
        cell = np.stack(np.divmod(np.arange(count), side), 1)[:, None] / side
        inset = 1.0 / size
        corners = np.array([[0, 0], [1, 0], [0, 1]]) * (1 / side - 3 * inset) + inset
        faces = np.arange(3 * count).reshape(-1, 3)
        return cut_along(mesh, mesh.faces.reshape(-1), faces, (cell + corners).reshape(-1, 2))


@register("baker", "grey")
class Grey(TextureBaker):
    """Without colours."""

    def textured(self, colours):
        return super().textured(np.repeat(colours.mean(1, keepdims=True), 3, axis=1))
'''


def test_an_export_unwraps_and_bakes_with_plugins_of_ones_own(custom, lamp_views) -> None:  # noqa: F811
    custom("baking.py", BAKING)
    options = {**BARE, "formats": ["glb"], "unwrap": "each-face", "baker": "grey"}
    exporter = build("exporter", "mesh", options, key="system.exporter")
    written = exporter.export(Lamp(), lamp_views, "export")
    mesh = read_mesh(written["glb"])
    assert len(mesh.vertices) == 3 * len(mesh.faces)
    assert mesh.texture.std() > 5 and np.ptp(mesh.texture, axis=-1).max() == 0
    custom("baking.py", BAKING.replace("(TextureBaker)", "").replace("super()", "None"))
    with pytest.raises(PluginError, match="'grey' .* is no Baker(.|\n)*texture.Baker"):
        build("exporter", "mesh", options)
    with pytest.raises(PluginError, match="unwrap is 'each-fac'(.|\n)*box, each-face"):
        build("exporter", "mesh", options | {"unwrap": "each-fac"}, key="system.exporter")
