"""What the helper process does: judge an input and options, show a prepared picture.

The functions take and return plain values, as they cross from process to process.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from studio.errors import DataError

LOOK_SIDE = 800
"""Pixels of a picture that is only looked at: whether it can be used, and how."""
LOOK = ".look.png"
"""Suffix of that one, while it is."""


def warm(configs: Sequence[str]) -> None:
    """Do once what the others do, so that the first visitor does not wait for it.

    Args:
        configs: names of those whose input is prepared.
    """
    import tempfile

    from PIL import Image

    import studio.export.readers  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "square.png"
        picture = Image.new("RGB", (96, 96), "white")  # with a background to be removed
        picture.paste((90, 90, 200), (24, 24, 72, 72))
        picture.save(path)
        for config in configs:
            prepare(config, {}, [str(path)])


def judge(
    config: str, options: Mapping[str, Any], inputs: Sequence[str], most_megapixels: float
) -> list[str]:
    """Refuse an input that cannot be used, before it waits in the queue.

    Args:
        config: name of it.
        options: over it, with dotted keys.
        inputs: files, or the folder of a capture.
        most_megapixels: that each picture of a capture may have.

    Returns:
        What a person should know of it.

    Raises:
        StudioError: in words.
    """
    from studio.data.base import ConditionData
    from studio.data.conditions.posed_images import PosedImagesData

    with _small(inputs) as paths:
        data = _data(config, options, paths)
        if isinstance(data, ConditionData) and not isinstance(data, PosedImagesData):
            return list(data.condition().meta.get("notes", []))
    check_shots(data, Path(inputs[0]), most_megapixels)
    return []


def check_export(config: str, options: Mapping[str, Any]) -> None:
    """Refuse options of the exporter that do not go together.

    Args:
        config: name of it.
        options: over it, with dotted keys.

    Raises:
        ConfigError: saying which.
    """
    from studio.plugins.discovery import find
    from studio.plugins.parsing import parse_config
    from studio.plugins.registry import config_class

    system = _content(config, options).get("system", {})
    cls = config_class(find("exporter", str(system.get("exporter_type", "mesh"))))
    parse_config(cls, system.get("exporter", {}), key="system.exporter")


def _content(config: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a config says, with options put over it."""
    from studio.config import read_experiment
    from studio.io.shipped import config_file
    from studio.plugins.overrides import put

    content = read_experiment(config_file(config))
    for key, value in options.items():
        put(content, key, value)
    return content


def _data(config: str, options: Mapping[str, Any], inputs: Sequence[str]) -> Any:
    """The data plugin of a config, with what is brought to it."""
    from studio.plugins.discovery import find
    from studio.plugins.options import build

    content = _content(config, options)
    name = str(content["data_type"])
    brought = getattr(find("data", name), "brought")  # noqa: B009
    given = list(inputs) if brought == "images" else inputs[0]
    return build("data", name, {**content.get("data", {}), brought: given}, key="data")


def shrink(path: str, side: int) -> str:
    """Scale a large picture down, where it lies: methods use a fraction of what cameras make.

    Args:
        path: of the file; it is replaced by a PNG file.
        side: longest side of what comes out, in pixels.

    Returns:
        The path of the PNG file.

    Raises:
        DataError: if it cannot be read.
    """
    target = Path(path).with_suffix(".small.png")
    _scaled(Path(path), target, side)
    Path(path).unlink()
    return str(target)


def _scaled(source: Path, target: Path, side: int) -> None:
    from PIL import Image, ImageOps

    from studio.io.picture_files import opened

    with opened(source) as picture:
        picture.draft(None, (side, side))  # of JPEG, no more is decoded than that takes
        upright = ImageOps.exif_transpose(picture)
        plain = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
        plain.thumbnail((side, side), Image.Resampling.LANCZOS)
        plain.save(target, compress_level=1)


@contextlib.contextmanager
def _small(paths: Sequence[str]) -> Iterator[list[str]]:
    """Yield pictures that are small enough to be looked at within a second or two."""
    from studio.io.picture_files import picture_size

    looked: list[str] = []
    made: list[Path] = []
    try:
        for path in map(Path, paths):
            if path.is_file() and max(picture_size(path)) > LOOK_SIDE:
                made.append(path.with_suffix(LOOK))
                _scaled(path, made[-1], LOOK_SIDE)
                path = made[-1]
            looked.append(str(path))
        yield looked
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def check_shots(data: Any, root: Path, most_megapixels: float) -> None:
    """Refuse a capture that names files outside its folder, or holds a picture that is too large.

    Args:
        data: plugin that reads it.
        root: its folder.
        most_megapixels: of a picture; its header tells.

    Raises:
        StudioError: also if it is no capture, or its cameras cannot be read.
    """
    from studio.captures.files import is_file, within
    from studio.data.layouts.base import LayoutData
    from studio.data.layouts.colmap_run import find_colmap
    from studio.data.layouts.photos import PhotosData
    from studio.io.picture_files import SUFFIXES

    while not isinstance(data, LayoutData):
        data = data.data
    if isinstance(data, PhotosData) and find_colmap(data.cfg.colmap) is not None:
        return  # its files name nothing; finding the cameras is the job's work
    with within(root):
        for split in ("train", "test"):
            for shot in _shots(data.scene(split)):
                named = [getattr(shot, field.name) for field in fields(shot)]
                for path in (value for value in named if isinstance(value, Path)):
                    if is_file(path) and path.suffix.lower() in SUFFIXES:
                        _check_pixels(path, most_megapixels * 1e6)


def _check_pixels(path: Path, most: float) -> None:
    """Refuse a picture that is too large; whether it can be read is for others to say."""
    from studio.io.picture_files import check_size, picture_size

    try:
        height, width = picture_size(path)
    except DataError:
        return
    check_size(path, (width, height), most)


def _shots(scene: Any) -> Sequence[Any]:
    return scene.shots if scene else ()


def prepare(
    config: str, options: Mapping[str, Any], inputs: Sequence[str]
) -> tuple[list[bytes], list[str]]:
    """Make the picture(s) that guidance will be shown.

    Returns:
        PNG files, and what a person should know of them.

    Raises:
        StudioError: if one cannot be used.
    """
    with _small(inputs) as paths:
        condition = _data(config, options, paths).condition()
    found = [condition.image] if condition.image is not None else list(condition.views.images)
    return [_png(picture) for picture in found], list(condition.meta.get("notes", []))


def _png(picture: Any) -> bytes:
    from PIL import Image

    from studio.io.images import to_uint8

    file = io.BytesIO()
    Image.fromarray(to_uint8(picture)).save(file, "PNG")
    return file.getvalue()
