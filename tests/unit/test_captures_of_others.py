"""Captures as people have them: turned photos, missing files, several models, rounded poses."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from studio.cameras import opencv_to_opengl, orbit_cameras
from studio.captures.files import turn
from studio.captures.lens import Lens, check_lens
from studio.data.layouts import colmap_cameras
from studio.data.layouts.dtu import read_projections
from studio.data.layouts.numbered import numbered, paired
from studio.errors import DataError
from studio.io.images import to_uint8
from tests.unit.test_captures import (
    RIG,
    assert_same,
    photograph,
    read,
    ring,
    save,
    write_colmap,
    write_dtu,
    write_ngp,
)

BROAD = orbit_cameras([0, 50, 130, 220, 300], [20.0, 45, -10, 30, 0], 2.0, 45.0, (40, 56))
KEEP: dict[str, Any] = {"centre": "keep", "up": "keep", "bound": 0.5}


def save_tagged(path: Path, picture: Tensor, tag: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = tag
    pixels = to_uint8(picture)
    Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[..., 0]).save(path, exif=exif)


def edit(root: Path, change: Any) -> None:
    path = root / "transforms.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def write_photos(root: Path, stored: list[Tensor], masks: list[Tensor], tag: int) -> None:
    """Photos with an EXIF tag and masks without, named as `write_ngp` has them."""
    for i, (picture, mask) in enumerate(zip(stored, masks, strict=True)):
        save_tagged(root / f"images/{i}.png", picture[:3], tag)
        save(root / f"masks/{i}.png", mask[3:])


# --- which way up -------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", range(1, 9))
def test_turning_there_and_back(tag: int) -> None:
    picture = torch.rand(3, 4, 6)
    assert torch.equal(turn(turn(picture, tag), tag, back=True), picture)


@pytest.mark.parametrize("tag", [3, 6, 8])
@pytest.mark.parametrize("sizes", [True, False])
def test_cameras_belong_to_the_stored_rows(tmp_path: Path, tag: int, sizes: bool) -> None:
    write_ngp(tmp_path, BROAD, **({"w": 56, "h": 40} if sizes else {}))
    if not sizes:
        edit(tmp_path, lambda d: [d.pop("w"), d.pop("h")])
    pictures = list(photograph(BROAD))
    write_photos(tmp_path, pictures, pictures, tag)
    assert_same(read("capture", tmp_path), BROAD)
    if tag > 4:  # masks that another tool made of the turned pictures
        write_photos(tmp_path, pictures, [turn(p, tag) for p in pictures], tag)
        assert_same(read("capture", tmp_path), BROAD)


@pytest.mark.parametrize("tag", [5, 6, 7, 8])
@pytest.mark.parametrize("masks_stored", [True, False])
def test_cameras_of_turned_pictures(tmp_path: Path, tag: int, masks_stored: bool) -> None:
    """Where only the turned picture has the file's w x h, it and its mask are turned alike."""
    write_ngp(tmp_path, BROAD, w=56, h=40)
    pictures = list(photograph(BROAD))
    stored = [turn(picture, tag, back=True) for picture in pictures]
    write_photos(tmp_path, stored, stored if masks_stored else pictures, tag)
    assert_same(read("capture", tmp_path), BROAD)


@pytest.mark.parametrize("tag", [3, 6])
def test_colmap_and_dtu_count_stored_rows(tmp_path: Path, tag: int) -> None:
    write_colmap(tmp_path / "c", BROAD, binary=True)
    write_dtu(tmp_path / "d", BROAD)
    for path in [*(tmp_path / "c/images").iterdir(), *(tmp_path / "d/image").iterdir()]:
        picture = torch.from_numpy(np.array(Image.open(path))).movedim(-1, 0) / 255
        save_tagged(path, picture, tag)
    assert_same(read("colmap", tmp_path / "c", **KEEP), BROAD, 1e-4)
    assert_same(read("dtu", tmp_path / "d", up="keep"), BROAD, 1e-4)


def test_a_shape_that_nothing_fits_names_exif(tmp_path: Path) -> None:
    write_ngp(tmp_path, BROAD, w=40, h=56)
    with pytest.raises(DataError, match=r"w x h = 40x56(.|\n)*56x40 px(.|\n)*EXIF"):
        read("capture", tmp_path)
    pictures = list(photograph(BROAD))
    write_photos(tmp_path, pictures, pictures, 6)
    edit(tmp_path, lambda d: d.update(w=80))
    with pytest.raises(DataError, match="EXIF tag turns it to 40x56"):
        read("capture", tmp_path)


# --- files that are gone or have other names ----------------------------------------------------


def test_frames_without_a_picture_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_ngp(tmp_path, RIG)
    (tmp_path / "images/1.png").unlink()
    views = read("capture", tmp_path)
    assert views.names == ("0", "2", "3", "4")
    assert_same(views, RIG[[0, 2, 3, 4]])
    assert "1 of 5 frames have no picture: images/1.png. They are left out." in caplog.text
    for i in (2, 3):
        (tmp_path / f"images/{i}.png").unlink()
    with pytest.raises(DataError, match=r"3 of 5 frames have no picture(.|\n)*relative to"):
        read("capture", tmp_path)


def test_frames_without_their_mask_are_left_out(tmp_path: Path) -> None:
    write_ngp(tmp_path, RIG)
    edit(tmp_path, lambda d: [f.update(mask_path=f["file_path"]) for f in d["frames"]])
    edit(tmp_path, lambda d: d["frames"][3].update(mask_path="images/gone.png"))
    assert read("capture", tmp_path).names == ("0", "1", "2", "4")


def test_pictures_and_masks_are_found_by_stem(tmp_path: Path) -> None:
    """The model names JPEGs, of which another tool made PNGs."""
    write_ngp(tmp_path, RIG)
    edit(
        tmp_path,
        lambda d: [f.update(file_path=f"./images/{i}.JPG") for i, f in enumerate(d["frames"])],
    )
    assert_same(read("capture", tmp_path), RIG)
    write_colmap(tmp_path / "c", RIG, binary=False)
    for path in (tmp_path / "c/images").iterdir():  # photo 0.jpg.png, in the model
        path.rename(path.with_name(path.name.replace(".jpg.png", ".jpg.webp.png")))
    for path in (tmp_path / "c/images").iterdir():
        path.rename(path.with_name(path.name.replace(".jpg.webp.png", ".jpg.bmp")))
    (tmp_path / "c/masks").rename(tmp_path / "c/mask")
    assert_same(read("colmap", tmp_path / "c", **KEEP), RIG, 1e-4)


@pytest.mark.parametrize("name", ["{0}.jpg.png", "{0}.png", "{0}_mask.png", "{0}-mask.PNG"])
@pytest.mark.parametrize("folder", ["masks", "mask"])
def test_masks_beside_a_transforms_file(tmp_path: Path, name: str, folder: str) -> None:
    write_ngp(tmp_path, RIG)
    edit(
        tmp_path,
        lambda d: [f.update(file_path=f"images/{i}.jpg") for i, f in enumerate(d["frames"])],
    )
    for i, picture in enumerate(photograph(RIG)):
        (tmp_path / f"images/{i}.png").unlink()
        (tmp_path / f"images/{i}.jpg").parent.mkdir(exist_ok=True)
        Image.fromarray(to_uint8(picture[:3])).save(tmp_path / f"images/{i}.jpg", quality=100)
        target = tmp_path / folder / name.format(i)
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(to_uint8(picture[3:])[..., 0]).save(target, "png")
    views = read("capture", tmp_path)
    torch.testing.assert_close(views.mask, photograph(RIG)[:, 3], atol=0.005, rtol=0)


def test_nerfstudio_lists_with_and_without_a_dot(tmp_path: Path) -> None:
    write_ngp(tmp_path, RIG)
    edit(tmp_path, lambda d: d.update(train_filenames=["./images/0.png", "images\\2.png"]))
    assert read("capture", tmp_path).names == ("0", "2")


def test_depth_maps_beside_a_ring(tmp_path: Path) -> None:
    cameras = ring(16)
    for i, picture in enumerate(photograph(cameras)):
        save(tmp_path / f"{i:03d}.png", picture)
        save(tmp_path / f"{i:03d}-depth.png", picture[:1] * 0.5)
    views = read("capture", tmp_path)
    assert len(views) == 16
    assert_same(views, cameras)


# --- DTU ----------------------------------------------------------------------------------------


def test_dtu_pictures_keep_their_cameras(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_dtu(tmp_path, RIG)
    for i in (1, 2):
        (tmp_path / f"image/{i:06d}.png").unlink()
    assert_same(read("dtu", tmp_path, up="keep"), RIG[[0, 3, 4]])
    assert any(
        "pictures of 3 of 5 cameras are there; without: world_mat_1, world_mat_2." in m
        for m in caplog.messages
    )
    (tmp_path / "mask/002.png").unlink()
    assert_same(read("dtu", tmp_path, up="keep"), RIG[[0, 3, 4]])
    (tmp_path / "mask/004.png").unlink()
    (tmp_path / "mask/001.png").unlink()
    assert_same(read("dtu", tmp_path, up="keep"), RIG[[0, 3]])


def test_pairing_by_number(caplog: pytest.LogCaptureFixture) -> None:
    def files(*names: str) -> list[Path]:
        return [Path(f"{name}.png") for name in names]

    assert numbered(files("rect_001_3_r5000", "rect_012_3_r5000")) == [1, 12]
    assert numbered(files("a", "b")) == [None, None]
    assert numbered(files("1_2", "2_1")) == [None, None]
    root = Path("x")
    assert paired(root, files("003", "001"), [0, 1, 2, 3], "cameras") == [3, 1]
    assert not caplog.messages
    assert paired(root, files("1", "2", "3"), [0, 1, 2], "cameras") == [0, 1, 2]  # from one
    assert "numbered differently: they are paired in order" in caplog.messages[0]
    assert paired(root, files("IMG_204", "IMG_209"), [0, 1], "cameras") == [0, 1]
    for names, others in (
        (("1", "2", "4"), [0, 1, 2]),
        (("front", "back"), [0, 1]),
        (("0", "1"), [None, None]),
        (("IMG_204", "IMG_209"), [0, 1, 2]),
        (("0", "1", "2", "3"), [0, 1, 2]),
    ):
        with pytest.raises(DataError, match="cannot be paired by the numbers"):
            paired(root, files(*names), others, "cameras")


def test_damaged_camera_files(tmp_path: Path) -> None:
    write_dtu(tmp_path, RIG)
    path = tmp_path / "cameras_sphere.npz"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", whole[:50] + bytes(60) + whole[110:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cameras_sphere.npz"):
            read("dtu", tmp_path)
    np.savez(path, world_mat_0=np.zeros((4, 4), dtype=[("a", "f4")]))
    with pytest.raises(DataError, match="no real numbers"):
        read("dtu", tmp_path)


# --- COLMAP -------------------------------------------------------------------------------------


def test_colmap_takes_the_largest_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_colmap(tmp_path, RIG, binary=True)
    (tmp_path / "sparse/0").rename(tmp_path / "sparse/1")
    write_colmap(tmp_path / "small", RIG[[0, 1]], binary=False)
    (tmp_path / "small/sparse/0").rename(tmp_path / "sparse/0")
    save(tmp_path / "images/not registered.png", photograph(RIG)[0])
    views = read("colmap", tmp_path, **KEEP)
    assert len(views) == 5
    assert "of 2 models sparse/1 is used, which has most pictures, 5 (sparse/0: 2)" in caplog.text
    assert "sparse/1 has a camera for 5 of the 6 pictures" in caplog.text
    assert len(read("colmap", tmp_path, model="sparse/0", **KEEP)) == 2


def test_images_txt_without_lines_of_points(tmp_path: Path) -> None:
    write_colmap(tmp_path, RIG, binary=False)
    path = tmp_path / "sparse/0/images.txt"
    lines = [line for line in path.read_text().splitlines() if "photo" in line]
    path.write_text("\n".join(lines))
    assert_same(read("colmap", tmp_path, **KEEP), RIG, 1e-4)


@pytest.mark.parametrize("used", [False, True])
def test_colmap_cameras_of_other_models(
    tmp_path: Path, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colmap_cameras.importlib.util, "find_spec", lambda name: None)
    write_colmap(tmp_path, RIG, binary=False)
    cameras = tmp_path / "sparse/0/cameras.txt"
    cameras.write_text(cameras.read_text() + "9 EUCM 40 40 40 40 20 20 0.6 1.1\n")
    if used:
        images = tmp_path / "sparse/0/images.txt"
        images.write_text(images.read_text().replace("7 photo 2", "9 photo 2"))
    views = read("colmap", tmp_path, **KEEP)
    chosen = [0, 1, 3, 4] if used else [0, 1, 2, 3, 4]
    assert_same(views, RIG[chosen], 1e-4)


def test_lenses_by_pycolmap() -> None:
    """Where it is installed, its formulas and ours agree on a model that both know."""
    pytest.importorskip("pycolmap")
    params = (50.0, 52.0, 32.0, 24.0, -0.2, 0.05, 0.01, -0.02)
    camera = colmap_cameras.ColmapCamera("OPENCV", 64, 48, params)
    theirs = colmap_cameras._ByPycolmap(camera)
    positions = torch.rand(30, 2).double() - 0.5
    torch.testing.assert_close(theirs.distort(positions), camera.lens.distort(positions))
    torch.testing.assert_close(theirs.intrinsics, camera.intrinsics)
    fisheye = colmap_cameras.ColmapCamera("SIMPLE_FISHEYE", 64, 48, (50.0, 32.0, 24.0))
    radius = positions.norm(dim=1, keepdim=True)
    torch.testing.assert_close(fisheye.lens.distort(positions), positions / radius * radius.atan())


# --- matrices -----------------------------------------------------------------------------------


def test_matrices_of_three_decimals(tmp_path: Path) -> None:
    write_ngp(tmp_path, RIG)

    def rounded(document: dict[str, Any]) -> None:
        for frame in document["frames"]:
            frame["transform_matrix"] = np.round(frame["transform_matrix"], 3).tolist()

    edit(tmp_path, rounded)
    views = read("capture", tmp_path)
    assert_same(dataclasses.replace(views, cameras=RIG), RIG)
    rotation = views.cameras.c2w[:, :3, :3]
    torch.testing.assert_close(rotation, RIG.c2w[:, :3, :3], atol=2e-3, rtol=0)
    unit = rotation @ rotation.transpose(1, 2)
    torch.testing.assert_close(unit, torch.eye(3).expand_as(unit), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["opencv", "opengl"])
def test_world_to_camera_matrices_are_named(tmp_path: Path, kind: str) -> None:
    write_ngp(tmp_path, RIG)
    c2w = RIG.c2w if kind == "opencv" else opencv_to_opengl(RIG.c2w)

    def inverted(document: dict[str, Any]) -> None:
        for frame, matrix in zip(document["frames"], c2w, strict=True):
            frame["transform_matrix"] = torch.linalg.inv(matrix).tolist()

    edit(tmp_path, inverted)
    with pytest.raises(DataError, match="look like world-to-camera"):
        read("capture", tmp_path)


def test_opencv_axes_are_named(tmp_path: Path) -> None:
    write_ngp(tmp_path, RIG)

    def turned(document: dict[str, Any]) -> None:
        for frame, matrix in zip(document["frames"], RIG.c2w, strict=True):
            frame["transform_matrix"] = matrix.tolist()

    edit(tmp_path, turned)
    with pytest.raises(DataError, match=r"OpenCV axes(.|\n)*from_na"):
        read("capture", tmp_path)
    edit(tmp_path, lambda d: d.update(from_na=True))
    assert_same(read("capture", tmp_path), RIG)


@pytest.mark.parametrize("model", ["SIMPLE_RADIAL", "RADIAL", "radial"])
def test_names_of_lenses(tmp_path: Path, model: str) -> None:
    write_ngp(tmp_path, RIG, camera_model=model, k1=1e-5, k2=1e-6)
    assert len(read("capture", tmp_path)) == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fl_x": 10**400}, "fl_x is 1000"),
        ({"fl_x": 1e300}, "no number of pixels"),
        ({"w": 1e300}, "w is 1e"),
        ({"studio": {"meta": True}}, "studio.meta is True"),
        ({"camera_model": "ORTHOGRAPHIC", "studio": {"ortho_scale": [None] * 5}}, "ortho_scale"),
        ({"camera_model": "ORTHOGRAPHIC", "studio": {"ortho_scale": [1e308] * 5}}, "ortho_scale"),
    ],
)
def test_values_that_no_file_should_hold(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    write_ngp(tmp_path, RIG)
    edit(tmp_path, lambda d: d.update(change))
    with pytest.raises(DataError, match=words):
        read("capture", tmp_path)


@pytest.mark.parametrize("path", [True, 3, ["a"], {"a": 1}])
def test_paths_that_are_none(tmp_path: Path, path: Any) -> None:
    write_ngp(tmp_path, RIG)
    edit(tmp_path, lambda d: d["frames"][0].update(mask_path=path))
    with pytest.raises(DataError, match="mask_path of images/0.png"):
        read("capture", tmp_path)


@pytest.mark.parametrize("path", ["/", "", "a\0b", "x" * 300])
def test_paths_that_no_file_can_have(tmp_path: Path, path: str) -> None:
    write_ngp(tmp_path, RIG)
    edit(tmp_path, lambda d: d["frames"][0].update(file_path=path))
    with pytest.raises(DataError, match="names the file .*(.|\n)*names that a file can have"):
        read("capture", tmp_path)


def test_json_that_is_nested_without_end(tmp_path: Path) -> None:
    (tmp_path / "transforms.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="not valid JSON"):
        read("transforms", tmp_path)


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system refuses it to all but root, who runs tests in containers."""
    write_ngp(tmp_path, RIG)

    def refused(path: Path, **options: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(DataError, match="cannot be read: permission denied"):
        read("capture", tmp_path)


# --- what no camera has -------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [1, 3, 6])
def test_a_turn_that_the_shape_cannot_tell_is_said(
    tmp_path: Path, tag: int, caplog: pytest.LogCaptureFixture
) -> None:
    write_ngp(tmp_path, BROAD, w=56, h=40)
    views = read("capture", tmp_path, **KEEP)
    write_photos(tmp_path, list(views.images), list(views.images), tag)
    read("capture", tmp_path, **KEEP)
    assert (f"5 pictures carry EXIF orientation {tag}" in caplog.text) == (tag == 3)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"k1": -50}, r"transforms.json.*k1 = -50"),
        ({"k1": 300}, r"k1 = 300"),
        ({"cx": 1e6}, r"transforms.json.*cx is 1e\+06"),
        ({"cy": -1e6}, r"cy is -1e\+06"),
    ],
)
def test_cameras_that_there_are_not(tmp_path: Path, values: dict[str, float], said: str) -> None:
    write_ngp(tmp_path, BROAD, w=56, h=40)
    edit(tmp_path, lambda document: document.update(values))
    with pytest.raises(DataError, match=said):
        read("capture", tmp_path, **KEEP)


def test_lenses_that_there_are_pass() -> None:
    intrinsics = torch.tensor([[450.0, 0, 500], [0, 450, 375], [0, 0, 1]])
    for lens in (Lens(-0.27, 0.1), Lens(0.2, -0.01, 0.01), Lens(k1=-0.05, p1=0.01, p2=-0.02)):
        check_lens(lens, intrinsics, (750, 1000), "here")


def test_a_number_of_thousands_of_digits_is_said_plainly(tmp_path: Path) -> None:
    write_ngp(tmp_path, BROAD)
    path = tmp_path / "transforms.json"
    path.write_text('{"w": ' + "1" * 5001 + "," + path.read_text()[1:])
    with pytest.raises(DataError, match="thousands of digits") as caught:
        read("capture", tmp_path, **KEEP)
    assert "sys." not in str(caught.value)


def test_a_singular_projection_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", world_mat_0=np.eye(4), world_mat_7=np.zeros((4, 4)))
    with pytest.raises(DataError, match=r"c.npz: world_mat_7 is singular"):
        read_projections(tmp_path / "c.npz")
