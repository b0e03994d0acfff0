"""EscherNet's evaluation of generated views: from folders of objects to metrics.json.

    python -m benchmarks.eschernet <root> --type GSO25 --references 1 2 3 5 10 \
        --weights load/nano/eschernet --out outputs/eschernet-eval [key=value ...]

`root` is one object's folder, or a folder of them, in the layout of the type (docs of `data_type:
eschernet-eval`). For every object and number of references all target views are made jointly,
saved as <out>/N3M25/<object>/ beside a sheet, and held against the true ones: PSNR, SSIM and, with
`--lpips`, LPIPS, each as the authors measure it (8 bit; means over views, then over objects; of
GSO25 views 10 to 24 and of RTMV views 10 to 19). "nearest" answers every view with the reference
whose camera is nearest. Words `key=value` are options of the guidance (cape=6dof steps=50 ...).

`--made FOLDER` measures views that lie there already, <FOLDER>/N3M25/<object>/ or <FOLDER>: our
sets, one picture a view, or the authors' strips `0.png`.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from PIL import Image

import studio
from studio.captures.masks import Cutting
from studio.captures.pictures import read_shots
from studio.captures.transforms import read_scene
from studio.data.layouts.fixed_rigs import tiles
from studio.data.training.eschernet_eval import EscherNetEvalData
from studio.data.training.eschernet_eval_frames import EvalConfig
from studio.data.training.eschernet_eval_sets import SETS
from studio.errors import DataError, StudioError
from studio.evaluation import finite
from studio.guidance.base import Guidance
from studio.io.files import make_folder, write_json
from studio.io.images import read_rgba
from studio.metrics.lpips import LPIPS
from studio.metrics.protocols import PROTOCOLS
from studio.plugins.discovery import find
from studio.runs.previews import picture_grid
from studio.views import ViewSet

PROTOCOL = PROTOCOLS["eschernet"]


@dataclass(frozen=True)
class Source:
    """Where views come from.

    Attributes:
        guidance: makes them, unless
        made: a folder holds them.
        seed: of every object's noise.
    """

    guidance: Guidance | None
    made: Path | None
    seed: int = 42

    def views(self, data: EscherNetEvalData, folder: str) -> ViewSet:
        """Return the target views of an object; `folder` is "N3M25/<object>"."""
        targets = data.targets()
        if self.made is not None:
            return made_views(self.made, folder, data)
        assert self.guidance is not None
        generator = torch.Generator().manual_seed(self.seed)
        return self.guidance.generate(data.condition(), targets, generator=generator)


def made_views(root: Path, folder: str, data: EscherNetEvalData) -> ViewSet:
    """Read views that were made before: a set of ours, a strip, or one picture a view.

    Raises:
        DataError: if there are none, or another number.
    """
    place = root / folder if (root / folder).is_dir() else root
    targets = data.targets()
    if (place / "transforms.json").is_file():
        shots = read_shots(read_scene(place), cutting=Cutting(required=False))
        views = ViewSet(shots.images, shots.cameras)
    else:
        found = tiles(place / "0.png" if (place / "0.png").is_file() else place, len(targets))
        if not found:
            raise DataError(
                f"{place} does not hold {len(targets)} views.",
                allowed="transforms.json, a strip 0.png of square tiles, or a picture a view",
            )
        pictures = []
        for file, box, (height, width) in found:
            left, top = box[:2] if box else (0, 0)
            pictures.append(read_rgba(file)[:, top : top + height, left : left + width])
        images = torch.stack(pictures)
        views = ViewSet(images, targets.resized(*images.shape[-2:]))
    if len(views) != len(targets) or views.cameras.size != targets.size:
        raise DataError(
            f"{place} holds {len(views)} views of {views.cameras.size} px.",
            allowed=f"{len(targets)} views of {targets.size} px (--resolution)",
        )
    return views


def nearest(data: EscherNetEvalData) -> ViewSet:
    """Answer every target with the reference whose camera is nearest."""
    references, targets = data.condition().views, data.targets()
    assert references is not None
    distance = torch.cdist(targets.centres, references.cameras.centres)
    return ViewSet(references.images[distance.argmin(1)], targets)


def figures(
    made: ViewSet, truth: ViewSet, measured: tuple[int, ...], lpips: LPIPS | None
) -> dict[str, Any]:
    """Return the mean of each figure over the measured views, and every view's own."""
    rows = [
        {"view": i, **PROTOCOL.views.measure(made.images[i], truth.images[i], lpips)}
        for i in measured
    ]
    return mean(rows) | {"views": rows}


def mean(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the means of the figures that all rows have."""
    keys = [k for k in PROTOCOL.views.figures if all(k in row for row in rows)]
    return {k: sum(row[k] for row in rows) / len(rows) for k in keys}


def object_folders(root: Path, cfg: EvalConfig) -> list[Path]:
    """Return the root, if it is an object's folder, else those below it that are.

    Raises:
        DataError: if there is none.
    """
    below = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    found, reasons = [], []
    for folder in (root, *below):
        try:
            EscherNetEvalData(replace(cfg, root=str(folder))).targets()
            found.append(folder)
        except DataError as error:
            reasons.append(f"{folder.name}: {str(error).splitlines()[0]}")
        if found == [root]:
            return found
    if not found:
        raise DataError(f"{root} holds no object of type {cfg.type}.", hint="; ".join(reasons[:3]))
    for reason in reasons[1:]:
        print(f"left out: {reason}", file=sys.stderr)
    return found


def measure(
    folders: list[Path], cfg: EvalConfig, source: Source, out: Path, lpips: LPIPS | None
) -> dict[str, Any]:
    """Make or read the views of all objects from one number of references, save and judge them."""
    objects = {}
    for folder in folders:
        data = EscherNetEvalData(replace(cfg, root=str(folder)))
        name = f"N{len(data.object.chosen)}M{len(data.targets())}/{folder.resolve().name}"
        began = time.perf_counter()
        made = source.views(data, name)
        row: dict[str, Any] = {"seconds": round(time.perf_counter() - began, 2)}
        if source.made is None:
            made.save(out / name)
        near, truth = nearest(data), data.ground_truth()
        shown = [near, made] if truth is None else [truth, near, made]
        save_sheet(out / f"{name}.png", shown, data.measured)
        if truth is not None and data.measured:
            row |= figures(made, truth, data.measured, lpips)
            row["nearest"] = mean(figures(near, truth, data.measured, lpips)["views"])
        objects[folder.resolve().name] = row | {"references": list(data.object.chosen)}
        print(f"{name}: " + line(row), flush=True)
    found: dict[str, Any] = {"objects": objects}
    if all("nearest" in row for row in objects.values()):
        found = {
            "metrics": mean(list(objects.values())),
            "nearest": mean([row["nearest"] for row in objects.values()]),
        } | found
    return found


def line(row: dict[str, Any]) -> str:
    """Return the figures of a row as one line of text."""
    return "  ".join(f"{k} {row[k]:.4f}" for k in PROTOCOL.views.figures if k in row)


def table(counts: dict[str, Any]) -> str:
    """Return the means by number of references, made views and nearest references, as Markdown."""
    shown = {count: found for count, found in counts.items() if "metrics" in found}
    if not shown:
        return "no true views, so no figures"
    names = list(next(iter(shown.values()))["metrics"])
    lines = ["| references | " + " | ".join([*names, *(f"{n}, nearest" for n in names)]) + " |"]
    lines.append("| --- " * (2 * len(names) + 1) + "|")
    for count, found in shown.items():
        row = [found[part][name] for part in ("metrics", "nearest") for name in names]
        lines.append(f"| {count} | " + " | ".join(f"{value:.4g}" for value in row) + " |")
    return "\n".join(lines)


def save_sheet(path: Path, sets: list[ViewSet], measured: tuple[int, ...]) -> None:
    """Write up to 15 views as rows: the true ones, the nearest references, the made ones."""
    index = list(measured or range(len(sets[0])))[:15]
    rows = torch.cat([views.rgb_on()[index] for views in sets])
    make_folder(path.parent)
    Image.fromarray(picture_grid(rows, columns=len(index))).save(path)


def build_guidance(weights: str, options: list[str]) -> Guidance:
    """Return EscherNet with weights of ours or released ones, and changed options."""
    given: Any = OmegaConf.to_container(OmegaConf.from_dotlist(options))
    method: Any = find("guidance", "eschernet")
    made: Guidance = method.from_pretrained(weights, **given)
    return made.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    text = argparse.ArgumentParser(
        prog="python -m benchmarks.eschernet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    text.add_argument("root", type=Path)
    text.add_argument("--type", choices=list(SETS), default="GSO25")
    text.add_argument("--references", type=int, nargs="+", default=[1, 2, 3, 5, 10])
    text.add_argument("--reference-list", help="lists of references, see data.reference_list")
    text.add_argument("--target-poses", help="folder of target cameras, see data.target_poses")
    text.add_argument("--weights", default="load/nano/eschernet", help="ours, or a released folder")
    text.add_argument("--made", type=Path, help="folder of views that are there already")
    text.add_argument(
        "--resolution", type=int, help="side in px; default: the model's, 256 with --made"
    )
    text.add_argument("--compositing", choices=["released", "right"], default="released")
    text.add_argument("--lpips", help="file or folder of AlexNet's weights")
    text.add_argument("--out", type=Path, default=Path("outputs/eschernet-eval"))
    text.add_argument("options", nargs="*", metavar="key=value", help="options of the guidance")
    return text


def main(words: list[str] | None = None) -> int:
    """Measure, print a table and write metrics.json; returns the exit code."""
    args = parser().parse_intermixed_args(words)
    try:
        return run(args)
    except StudioError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2


def run(args: argparse.Namespace) -> int:
    """Carry out parsed words."""
    guidance = None if args.made else build_guidance(args.weights, args.options)
    lpips = LPIPS.load("alex", args.lpips) if args.lpips else None
    cfg = EvalConfig(
        type=args.type,
        resolution=args.resolution or (256 if guidance is None else guidance.contract.resolution),
        compositing=args.compositing,
        cape=getattr(getattr(guidance, "cfg", None), "cape", "6dof"),
        reference_list=args.reference_list,
        target_poses=args.target_poses,
    )
    counts: dict[str, Any] = {}
    for count in args.references:
        asked = replace(cfg, references=count)
        found = measure(
            object_folders(args.root, asked), asked, Source(guidance, args.made), args.out, lpips
        )
        counts[str(count)] = found
    print(table(counts))
    protocol = PROTOCOL.describe(PROTOCOL.views)
    protocol["normalises"] = f"pictures of {cfg.resolution} px on white, {cfg.compositing}, 8 bit"
    document = {"program": f"studio {studio.__version__}", "type": cfg.type, "protocol": protocol}
    document |= {"made": str(args.made)} if args.made else {"weights": args.weights}
    document |= {"options": args.options, "references": counts}
    write_json(args.out / "metrics.json", finite(document))
    print(args.out / "metrics.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
