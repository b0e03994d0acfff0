"""How far right and exchanged poses of real captures lie apart, before and after a fit.

    python -m benchmarks.wrong_poses data=FOLDER steps=250 side=96 pictures=20
    python -m benchmarks.wrong_poses data=FOLDER steps=300 side=64 outlines=no

`data` holds captures, a folder each (`only=a,b` names some). Of each, poses are right, two are
exchanged, and all are; they are a little off; focal lengths are wrong; exposures differ
(`what=exchanged` and so on names some). `steps=0` leaves the fit out. Printed are outline (IoU) and
PSNR, worst and median, the median distance of the middles of outlines, the spread of brightness,
the focal length under which the outlines' hull agrees best, and what is said. With
`outlines=no` pictures are object everywhere, and a background is learned, too.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

import studio
from benchmarks.captures import exposed, unposed
from studio.live.poses import outlines_overlap
from studio.metrics.agreement import agreement
from studio.metrics.exposure import exposure_logs
from studio.metrics.field_of_view import focal_length
from studio.models.surface import coloured
from studio.plugins.options import build
from studio.systems.fitted import CELLS, seen_again
from studio.views import ViewSet

ONLY = "nerf_synthetic_chair,gso_elephant,bunny_36views_256"


def exchanged(views: ViewSet, count: int, seed: int = 0) -> tuple[ViewSet, set[int]]:
    """The views with that many cameras handed round among them, and which."""
    order = list(range(len(views)))
    turns = torch.randperm(len(views), generator=torch.Generator().manual_seed(seed))
    which = turns[:count].tolist()
    for at, other in zip(which, which[1:] + which[:1], strict=True):
        order[at] = other
    return replace(views, cameras=views.cameras[order]), set(which)


def said(index: Sequence[int], values: Sequence[float], among: set[int]) -> str:
    """Worst and median of the values of some views."""
    some = [value for i, value in zip(index, values, strict=True) if i in among]
    return f"{min(some):.2f}-{statistics.median(some):.2f}" if some else "none"


def cases(views: ViewSet) -> Iterator[tuple[str, ViewSet, set[int]]]:
    """What is wrong, the views, and whose poses are."""
    for count in (0, 2, len(views)):
        yield f"{count} exchanged", *exchanged(views, count)
    everybody = set(range(len(views)))
    for degrees in (0.5, 1.0, 2.0):
        off = unposed(views, degrees, degrees / 100)
        yield f"off by {degrees:g} degrees, {degrees:g} %", off, everybody
    for factor in (0.7, 1.4):
        intrinsics = views.cameras.intrinsics.clone()
        intrinsics[:, :2, :2] *= factor
        cameras = replace(views.cameras, intrinsics=intrinsics)
        yield f"focal length x {factor:g}", replace(views, cameras=cameras), everybody
    yield "exposures differ", exposed(views), set()


def rows(name: str, views: ViewSet, steps: int, only: str) -> Iterator[str]:
    """A line for each way in which a capture is wrong."""
    for what, given, wrong in cases(views):
        if not what.startswith(only):
            continue
        right = set(range(len(views))) - wrong
        outlines = outlines_overlap(given)
        index, values = list(outlines), list(outlines.values())
        line = f"{name}, {what}: hull, right {said(index, values, right)}, "
        line += f"wrong {said(index, values, wrong)}"
        if steps:
            result = studio.reconstruct(given, steps=steps)
            found = agreement(coloured(result.model, CELLS), given)
            for words, of in (("fit, outline", found.iou), ("fit, dB", found.psnr)):
                line += f"; {words}, right {said(found.index, of, right)}, "
                line += f"wrong {said(found.index, of, wrong)}"
            line += f"; middles {statistics.median(found.offsets):.4f}"
        line += f"; brightness {float(exposure_logs(given).std(0, correction=0).max()):.3f}"
        lens = focal_length(given)
        if lens is not None:
            line += f"; focal length x {lens.factor:g}: {lens.agreement:.3f}, {lens.as_given:.3f}"
        if steps:
            line += f"; {[*result.findings.alarms, *result.findings.warnings]}"
        yield line


def rows_without_outlines(name: str, views: ViewSet, steps: int, only: str) -> Iterator[str]:
    """The same for pictures that are object everywhere, on white."""
    whole = torch.cat([views.rgb_on(), torch.ones_like(views.images[:, :1])], 1)
    views = replace(views, images=whole)
    for count in (0, 2, len(views)):
        if not f"{count} exchanged".startswith(only):
            continue
        given, wrong = exchanged(views, count)
        right = set(range(len(views))) - wrong
        result = studio.reconstruct(given, steps=steps, config="reconstruct-scene")
        again = seen_again(result.model, given)
        index, values = list(again), list(again.values())
        yield (
            f"{name}, {count} exchanged: fit, dB, right {said(index, values, right)}, "
            f"exchanged {said(index, values, wrong)}; alarms {len(result.findings.alarms)}"
        )


def main() -> None:
    """Print the figures of all captures."""
    words = {"steps": "250", "side": "96", "pictures": "20", "only": ONLY, "outlines": "yes"}
    words |= {"what": ""}
    words |= dict(word.split("=", 1) for word in sys.argv[1:])
    for name in words["only"].split(","):
        options = {"root": str(Path(words["data"]) / name), "resolution": int(words["side"])}
        views = build("data", "capture", options, key="data").load()
        most = min(int(words["pictures"]), len(views))
        views = views.select(list(range(0, len(views), len(views) // most))[:most])
        made = rows if words["outlines"] == "yes" else rows_without_outlines
        for line in made(name, views, int(words["steps"]), words["what"]):
            print(line, flush=True)


if __name__ == "__main__":
    main()
