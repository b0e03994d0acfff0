"""ViewFusion's evaluation on NMR: every test object once, per category, one or several inputs.

    python -m benchmarks.nmr <data> --weights best_model_all.pt --out outputs/nmr \
        --counts 1,2,4,6,variable [--targets one] [--lpips FOLDER] [--part 1/4] [key=value ...]

`data` is the NMR archive, its zip or shards. Of every object the inputs, the targets, the number of
inputs ("variable": 1 to 6, drawn evenly) and the noise are functions of its name alone, so figures
repeat, whatever the order. All 24 views are made; `metrics` is over those that are no inputs,
`all` over all 24. `--targets one` makes one other view per object, as the authors measure. Figures
as theirs: 8 bit, PSNR and SSIM per picture, LPIPS with VGG; means over pictures. "nearest" answers
with the input whose azimuth is nearest. Words `key=value` are options of the guidance (steps=50).

Results are kept object by object: the same command again goes on, and `--part i/n` shares the work
among processes that write to one folder; the last one's summary holds all.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

import studio
from studio.config import parse_config, plain
from studio.data.training.nmr import NMRData, NMRViews, fixed_order
from studio.data.training.nmr_archive import LISTS, SPLITS
from studio.data.training.nmr_index import VIEWS
from studio.errors import DataError, StudioError, WeightsError
from studio.evaluation import finite
from studio.guidance.base import Guidance
from studio.guidance.viewfusion_composable.checkpoint import saved_config
from studio.guidance.viewfusion_composable.guidance import ViewFusionComposableGuidance
from studio.guidance.viewfusion_composable.options import ViewFusionComposableConfig
from studio.io.files import atomic_write, make_folder, write_json
from studio.io.reading import known_json
from studio.metrics.lpips import LPIPS
from studio.metrics.protocols import ViewProtocol
from studio.runs.previews import picture_grid
from studio.views import Condition, ViewSet

PROTOCOL = ViewProtocol(eight_bit=True)
VARIABLE = "variable"


def chosen(key: str, count: str, most: int, one: bool) -> tuple[list[int], list[int]]:
    """Return input and target views of an object, functions of its name.

    Args:
        key: the object.
        count: number of inputs, or "variable".
        most: largest number that "variable" draws.
        one: the first view of the object's order is the only target, else all views are.
    """
    order = fixed_order(key).tolist()
    number = 1 + zlib.crc32(f"{key} inputs".encode()) % most if count == VARIABLE else int(count)
    return order[1 : 1 + number], order[:1] if one else list(range(VIEWS))


def evaluate_object(
    guidance: Guidance, data: NMRViews, index: int, count: str, args: argparse.Namespace
) -> tuple[dict[str, Any], Tensor]:
    """Make the targets of an object and judge them; also returns the sheet's pictures."""
    key = data.keys[index]
    inputs, targets = chosen(key, count, args.most, args.targets == "one")
    side = data.cfg.resolution
    pictures = torch.ones(VIEWS, 4, side, side)
    needed = sorted({*inputs, *targets})
    pictures[needed, :3] = data.pictures(index, needed) / 2 + 0.5
    azimuth, elevation, _ = data.ring.spherical()
    condition = Condition(
        views=ViewSet(pictures[inputs], data.ring[inputs]),
        azimuth_deg=float(azimuth[inputs[0]]),
        elevation_deg=float(elevation[inputs[0]]),
    )
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    made = guidance.generate(condition, data.ring[targets], generator=generator)
    rgb = torch.cat([made.rgb_on().cpu().clamp(0, 1), torch.ones(len(targets), 1, side, side)], 1)
    rows = []
    for k, view in enumerate(targets):
        near = min(inputs, key=lambda i: min((i - view) % VIEWS, (view - i) % VIEWS))
        answers = {"made": rgb[k], "nearest": pictures[near]}
        judged = {n: PROTOCOL.measure(p, pictures[view], args.judge) for n, p in answers.items()}
        rows.append({"view": view, "is_input": view in inputs, **judged})
    sheet = torch.cat([pictures[targets, :3], rgb[:, :3]])
    return {"key": key, "count": count, "inputs": inputs, "views": rows}, sheet


def summary(rows: list[dict[str, Any]], names: dict[str, str]) -> dict[str, Any]:
    """Return figures by number of inputs: of all objects and of each category."""
    groups: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        name = names.get(row["key"].partition("-")[0], "?").split(",")[0]
        for group in ("total", name):
            groups[row["count"]][group].append(row)
    return {
        count: {group: _figures(members) for group, members in sorted(by_group.items())}
        for count, by_group in groups.items()
    }


def _figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    views = [view for row in rows for view in row["views"]]
    unseen = [view for view in views if not view["is_input"]]
    found: dict[str, Any] = {"objects": len(rows), "pictures": len(unseen)}
    for name, kind, members in (
        ("metrics", "made", unseen),
        ("all", "made", views),
        ("nearest", "nearest", unseen),
    ):
        keys = list(members[0][kind]) if members else []
        found[name] = {k: sum(m[kind][k] for m in members) / len(members) for k in keys}
    return found


class Rows:
    """Results of objects in files of one line each, so that a stopped evaluation goes on.

    Args:
        folder: of the results.
        part: this process's (number, of how many), from 1.
        settings: what the results depend on; those of the folder have to be the same.
    """

    def __init__(self, folder: Path, part: tuple[int, int], settings: dict[str, Any]) -> None:
        self.folder, self.path = make_folder(folder), folder / f"rows-{part[0]}of{part[1]}.jsonl"
        known = known_json(folder / "settings.json")
        if known and known != settings:
            changed = [k for k in settings if known.get(k) != settings[k]]
            raise DataError(
                f"{folder} holds results with another {', '.join(changed)}.",
                hint="Give another --out.",
            )
        write_json(folder / "settings.json", settings)
        if self.path.exists() and not self.path.read_bytes().endswith(b"\n"):
            with self.path.open("a") as stream:
                stream.write("\n")  # ends a line that was cut off

    def read(self) -> list[dict[str, Any]]:
        """Return the results of all parts; a line that was cut off does not count."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for path in sorted(self.folder.glob("rows-*.jsonl")):
            for text in path.read_text().splitlines():
                try:
                    row = json.loads(text)
                except ValueError:
                    continue
                found[row["key"], row["count"]] = row
        return list(found.values())

    def add(self, row: dict[str, Any]) -> None:
        """Keep the result of an object."""
        text = json.dumps(row)  # an exact picture has infinite PSNR, which Python reads again
        with self.path.open("a") as stream:
            stream.write(text + "\n")


def build_guidance(weights: str, options: list[str]) -> Guidance:
    """Return the model of a folder of weights or of an authors' file, with changed options."""
    given: Any = OmegaConf.to_container(OmegaConf.from_dotlist(options))
    if weights and not Path(weights).exists():
        raise WeightsError(f"{weights} does not exist.", allowed="a folder of weights, or a .pt")
    saved = plain(saved_config(Path(weights))) if weights else {}
    cfg = parse_config(ViewFusionComposableConfig, {**saved, **given})
    model = ViewFusionComposableGuidance(cfg).eval()
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def run(args: argparse.Namespace) -> int:
    """Carry out parsed words."""
    guidance = build_guidance(args.weights, args.options)
    cfg = NMRData.Config(
        root=args.data,
        lists=args.lists,
        categories=args.categories,
        resolution=guidance.contract.resolution,
    )
    data = NMRData(cfg).views(args.split)
    args.judge = LPIPS.load("vgg", args.lpips) if args.lpips else None
    kept = ("weights", "options", "targets", "most", "split", "lists", "lpips")
    rows = Rows(args.out, args.part, {k: getattr(args, k) for k in kept})
    done = {(row["key"], row["count"]) for row in rows.read()}
    number, parts = args.part
    indices = list(range(len(data)))[: args.objects][number - 1 :: parts]
    for count in args.counts:
        for place, index in enumerate(indices):
            if (data.keys[index], count) in done:
                continue
            row, sheet = evaluate_object(guidance, data, index, count, args)
            rows.add(row)
            if place < args.sheets:
                path = args.out / "sheets" / f"{count}-{data.keys[index]}.png"
                with atomic_write(path) as temporary:
                    Image.fromarray(picture_grid(sheet, len(sheet) // 2)).save(temporary)
            shown = _line(_figures([row])["metrics"])
            print(f"{count} inputs, {place + 1}/{len(indices)}: {shown}", flush=True)
    found = summary(rows.read(), data.archive.names)
    document = {
        "program": f"studio {studio.__version__}",
        "data": args.data,
        **known_json(args.out / "settings.json"),
        "figures": PROTOCOL.figures,
        "counts": found,
    }
    write_json(args.out / "metrics.json", finite(document))
    for count, groups in found.items():
        for group, figures in groups.items():
            nearest = _line(figures["nearest"])
            print(f"{count:>8} {group:<12} {_line(figures['metrics'])}   nearest: {nearest}")
    print(args.out / "metrics.json")
    return 0


def _line(figures: dict[str, float]) -> str:
    return "  ".join(f"{k} {v:.4f}" for k, v in figures.items())


def _part(word: str) -> tuple[int, int]:
    number, _, parts = word.partition("/")
    if not (number.isdigit() and parts.isdigit() and 1 <= int(number) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{word!r} is no part such as 1/4")
    return int(number), int(parts)


def _counts(words: str) -> list[str]:
    for word in words.split(","):
        if word != VARIABLE and not (word.isdigit() and 1 <= int(word) < VIEWS):
            raise argparse.ArgumentTypeError(f"{word!r} is not 1 to {VIEWS - 1}, or {VARIABLE}")
    return words.split(",")


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    text = argparse.ArgumentParser(
        prog="python -m benchmarks.nmr",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    text.add_argument("data", help="NMR_Dataset, NMR_Dataset.zip or a folder of shards")
    text.add_argument("--weights", default="load/nano/viewfusion-composable")
    text.add_argument("--counts", type=_counts, default="1,2,4,6,variable", help="of inputs")
    text.add_argument("--most", type=int, default=6, help="inputs that 'variable' draws at most")
    text.add_argument("--targets", choices=["all", "one"], default="all")
    text.add_argument("--split", choices=SPLITS, default="test")
    text.add_argument("--lists", choices=list(LISTS), default="official")
    text.add_argument("--categories", type=lambda word: word.split(","), default=[])
    text.add_argument("--objects", type=int, help="the first so many objects only")
    text.add_argument("--lpips", default="", help="file or folder of VGG's weights")
    text.add_argument("--part", type=_part, default=(1, 1), metavar="I/N")
    text.add_argument("--sheets", type=int, default=8, help="objects shown in pictures")
    text.add_argument("--out", type=Path, default=Path("outputs/nmr-eval"))
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


if __name__ == "__main__":
    sys.exit(main())
