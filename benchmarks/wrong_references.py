"""What outlines tell of the cameras of a few references, before anything is made of them.

    python -m benchmarks.wrong_references data=FOLDER sets=20 counts=2,3,5 side=96

`data` holds captures, a folder each (`only=a,b` names some). Of each, some pictures are drawn and
written as a capture of their own, whose size nobody states: with their cameras, with two cameras
exchanged, with the camera of one turned around the object by a quarter, and with all a little off.
Printed is the overlap of the outlines with the hull that all of them leave (that of the least in
each set: worst, median and best of the sets), and of how many sets something is said.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.captures import unposed
from benchmarks.wrong_poses import ONLY
from studio.cameras import Cameras
from studio.data.conditions.posed_images import PosedImagesData
from studio.errors import StudioError
from studio.metrics.consistency import outline_overlaps
from studio.plugins.options import build
from studio.systems.generated import wrong_references
from studio.views import ViewSet


def turned(cameras: Cameras) -> Cameras:
    """The cameras, the first of them a quarter around the upright axis."""
    turn = torch.tensor([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    c2w = cameras.c2w.clone()
    c2w[0] = turn.to(c2w) @ c2w[0]
    return replace(cameras, c2w=c2w)


def cases(views: ViewSet) -> Iterator[tuple[str, ViewSet]]:
    """What is wrong with the cameras, and the pictures with them."""
    yield "right", views
    exchanged = [1, 0, *range(2, len(views))]
    yield "two exchanged", replace(views, cameras=views.cameras[exchanged])
    yield "one a quarter off", replace(views, cameras=turned(views.cameras))
    for degrees in (1, 3):
        yield f"all {degrees} degrees, {degrees} % off", unposed(views, degrees, degrees / 100)


def told_of(views: ViewSet, side: int) -> tuple[float, bool]:
    """Overlap of the least fitting outline, and whether something is said, of a capture of these.

    A capture that is refused counts as told.
    """
    with tempfile.TemporaryDirectory() as folder:
        views.save(folder)
        for path in Path(folder).glob("transforms*.json"):
            content = json.loads(path.read_text())
            content.pop("studio", None)
            path.write_text(json.dumps(content))
        options = {"root": folder, "count": 0, "resolution": side}
        try:
            condition = PosedImagesData(PosedImagesData.Config(**options)).condition()
        except StudioError:
            return 0.0, True
    assert condition.views is not None
    overlaps = outline_overlaps(condition.views)
    return float(overlaps.min()), bool(wrong_references(condition))


def main() -> None:
    """Print a line for each capture, number of references and mistake."""
    words = {"sets": "20", "counts": "2,3,5", "side": "96", "only": ONLY}
    words |= dict(word.split("=", 1) for word in sys.argv[1:])
    side = int(words["side"])
    for name in words["only"].split(","):
        options = {"root": str(Path(words["data"]) / name), "resolution": side}
        views = build("data", "capture", options, key="data").load()
        for count in map(int, words["counts"].split(",")):
            found: dict[str, list[tuple[float, bool]]] = {}
            for number in range(int(words["sets"])):
                draw = torch.Generator().manual_seed(number)
                chosen = torch.randperm(len(views), generator=draw)[:count].tolist()
                for what, given in cases(views.select(chosen)):
                    found.setdefault(what, []).append(told_of(given, side))
            for what, rows in found.items():
                values = [value for value, _ in rows]
                spread = f"{min(values):.2f}, {statistics.median(values):.2f}, {max(values):.2f}"
                told = sum(said for _, said in rows)
                print(f"{name}, {count}, {what}: {spread}; told of {told} of {len(rows)}")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
