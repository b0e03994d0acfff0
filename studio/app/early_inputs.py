"""Inputs that cannot be used, told before torch is loaded: what is missing, empty or broken."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path

import numpy as np

from studio.app.groups import Group
from studio.captures.even_background import ADVICE, check_shows_something
from studio.errors import DataError
from studio.io.paths import existing
from studio.io.picture_files import SUFFIXES, carries_alpha, opened
from studio.io.reading import reading
from studio.plugins import discovery as plugins

IN_ROOT = ("objects", "invalid", "captions", "pictures", "caption_train", "caption_val")
"""Options that name files or folders below `root`, if they are given."""
LISTED = 1000
"""Files and folders that are looked at."""
MOST_SIDE = 1024
"""Pixels at which a picture is looked at, not above what it is cut out at: noise evens out."""
CAMERAS = (".json", ".npz", ".npy", ".txt", ".bin")
"""Suffixes of files that cameras lie in."""


def check_inputs(group: Group) -> None:
    """Refuse a text, picture, folder or list that is missing, empty or broken.

    Args:
        group: the options of a data plugin; those of others' plugins are not known, and pass.

    Raises:
        DataError: for the first mistake.
    """
    if group.name == "text" and not group.text("text").strip():
        raise DataError("data.text is not given.", hint='Add data.text="a red car".')
    image, images = group.text("image"), group.texts("images")
    if group.name == "single-image" and not image:
        raise DataError("data.image is not given.", hint="Add data.image=<picture>.")
    if group.name == "images" and not (images or image):
        raise DataError("data.images is not given.", hint="Add data.images=[a.png,b.png].")
    if "image" in group.options:
        for picture in images or [image] * bool(image):
            _check_picture(group, Path(picture))
    root = group.text("root")
    if root and "root" in group.options and "://" not in root:
        _check_root(group, existing(Path(root)))
        for option in IN_ROOT:
            if option in group.options and (name := group.text(option)):
                existing(Path(root) / name)


def _check_root(group: Group, root: Path) -> None:
    """Refuse an empty folder, a damaged zip, and what is no capture where one is wanted."""
    capture = "holdout" in group.options and not _others_read_captures()
    if root.is_file() and root.suffix.lower() == ".zip":
        with reading(root, "a zip file", hint="Copy it again."), zipfile.ZipFile(root):
            pass
        if capture:
            raise DataError(f"{root} is a zip file.", hint="Unpack it, and give its folder.")
    files = _listed(root) if root.is_dir() else None
    if files is None:
        return
    if not files:
        raise DataError(f"folder {root} is empty.", hint="Give the folder that holds the files.")
    if capture and not any(file.suffix.lower() in (*SUFFIXES, *CAMERAS) for file in files):
        names = ", ".join(file.name for file in files[:5])
        raise DataError(
            f"folder {root} holds neither pictures nor cameras, but {names}"
            f"{', ...' if len(files) > 5 else ''}.",
            hint="Give the folder of a capture; docs/captures.md has the layouts.",
        )


def _others_read_captures() -> bool:
    """Whether plugins of others may read captures of a kind that is not known here."""
    known = plugins.catalogue()
    theirs = (plugin for plugin in known.plugins if plugin.origin in known.units)
    return bool(known.unclear) or any(plugin.kind == "data" for plugin in theirs)


def _listed(folder: Path) -> list[Path] | None:
    """The files of a folder and of those below; None where not all can be seen, or in time."""
    unseen: list[OSError] = []
    found: list[Path] = []
    for count, (place, folders, names) in enumerate(os.walk(folder, onerror=unseen.append)):
        found += [Path(place) / name for name in names if not name.startswith(".")]
        linked = any((Path(place) / name).is_symlink() for name in folders)
        if linked or count + len(found) > LISTED:
            return None
    return None if unseen else found


def _check_picture(group: Group, image: Path) -> None:
    """Refuse a picture that cannot be opened, of one colour, or whose background is not even."""
    method = group.text("background")
    with opened(image) as picture:
        picture.load()
        if method not in ("auto", "border") or picture.mode[0] in "IF":  # of 16 or 32 bits
            return
        small = picture.convert("RGBA" if carries_alpha(picture) else "RGB")
        small = small.reduce(math.ceil(max(small.size) / MOST_SIDE)).convert("RGBA")
        rgba = np.asarray(small).transpose(2, 0, 1).astype(np.float32) / 255
    if method == "auto" and (rgba[3] < 0.5).mean() >= 1e-3:
        return
    try:
        check_shows_something(rgba[:3], float(group.text("tolerance")))
    except DataError as error:
        raise DataError(str(error), hint=ADVICE) from error
