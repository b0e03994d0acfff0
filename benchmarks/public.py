"""Tables over public data sets, a row a scene: `studio batch task=measure`, and its table.

    python -m benchmarks.public dtu ROOT [out=FOLDER] [config=reconstruct] [workers=N] [part=1/3]
        [only=scan24,scan37] [scenes=FILE.json] [key=value ...]
    python -m benchmarks.public nerf-synthetic|blendedmvs|stanford-orb|gso30 ROOT ...
    python -m benchmarks.public dtu ROOT table=only      # of what is done, by whichever machines

Words are those of `studio batch`, options of the config and of the task (`task.resolution=256`);
`scenes` names a JSON file of options by scene, {"scan24": {"data.resolution": 800}}. What is done
is not done again: the same command goes on after a kill, `part=2/8` or `part=auto` shares the
scenes among machines that have the folder in common. The table is printed and written to table.md.

What lies where, and what is measured how: docs/benchmarks.md, "Public tables".
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.tables import table
from studio.app.batch import run_batch
from studio.data.layouts.capture import layouts
from studio.errors import ConfigError, DataError, StudioError
from studio.io.files import make_folder, write_bytes
from studio.io.paths import existing
from studio.io.reading import parse_json, read_json, read_text
from studio.metrics.culling import MARGIN
from studio.metrics.dtu import SCANS

Row = dict[str, Any]

NERF_SYNTHETIC = ("chair", "drums", "ficus", "hotdog", "lego", "materials", "mic", "ship")
SHAPE = {"surface.accuracy": "acc. mm", "surface.completeness": "comp. mm", "surface.chamfer": "mm"}
VIEWS = {"test.psnr": "PSNR", "test.ssim": "SSIM", "test.lpips": "LPIPS", "test.views": "views"}
EFFORT = {"step_count": "steps", "seconds.fit": "fit s", "seconds.total": "s"}
TIMES_1000 = {"surface.chamfer": "CD x1000", "surface.chamfer_squared_sum": "CD² x1000"}


@dataclass(frozen=True)
class DataSet:
    """A public data set.

    Attributes:
        looks_for: what lies below its folder, for messages.
        scenes: finds them: rows of a list for `studio batch`.
        columns: figures and their headings.
        words: of the batch, for all scenes.
        scaled: figures that the table shows in thousandths.
    """

    looks_for: str
    scenes: Callable[[Path], Iterable[Row]]
    columns: dict[str, str]
    words: dict[str, str] = field(default_factory=dict)
    scaled: dict[str, str] = field(default_factory=dict)


def first(*paths: Path) -> Path | None:
    """The first of some files or folders that is there."""
    return next((path for path in paths if path.exists()), None)


def folders(root: Path) -> list[Path]:
    """The folders in a folder."""
    return sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []


def dtu(root: Path) -> Iterable[Row]:
    """IDR's or NeuS's folders of the fifteen scans, beside the benchmark's own archives."""
    for scan in SCANS:
        names = (f"dtu_scan{scan}", f"scan{scan}", f"DTU/scan{scan}", f"data_DTU/dtu_scan{scan}")
        if capture := first(*(root / name for name in names)):
            yield {"label": f"scan{scan}", "capture": capture, "reference": root, "task.scan": scan}


def nerf_synthetic(root: Path) -> Iterable[Row]:
    """The eight objects, in their own folder or that of the archive."""
    for name in NERF_SYNTHETIC:
        if capture := first(root / name, root / "nerf_synthetic" / name):
            yield {"label": name, "capture": capture}


def captures(root: Path) -> Iterable[Row]:
    """Every folder of a known layout."""
    known = layouts().values()
    for folder in folders(root):
        if any(layout.recognises(folder) for layout in known):
            yield {"label": folder.name, "capture": folder}


def stanford_orb(root: Path) -> Iterable[Row]:
    """Scenes in their Blender layout, of 8 bit, and the scanned meshes aligned with them."""
    for capture in folders(root / "blender_LDR"):
        mesh = root / "ground_truth" / capture.name / "mesh_blender" / "mesh.obj"
        scan = {"reference": mesh} if mesh.exists() else {}
        yield {"label": capture.name, "capture": capture, **scan}


def gso30(root: Path) -> Iterable[Row]:
    """Objects with true views (EscherNet's 25 or SyncDreamer's 16) and their mesh."""
    for folder in folders(root):
        views = first(*(folder / n for n in ("render_mvs_25/model", "views", "000.png")))
        places = (folder, folder / "meshes", root.parent / "meshes" / folder.name)
        mesh = first(*(p / name for p in places for name in ("model.obj", "mesh.obj", "model.glb")))
        if views and mesh:
            capture = folder if views.is_file() else views
            yield {"label": folder.name, "capture": capture, "reference": mesh}


SETS = {
    "dtu": DataSet(
        "dtu_scan24/ (or scan24/) ..., Points/stl/ and ObsMask/",
        dtu,
        SHAPE | EFFORT,
        {"task.cull": f"{MARGIN:.6f}"},
    ),
    "nerf-synthetic": DataSet(", ".join(NERF_SYNTHETIC), nerf_synthetic, VIEWS | EFFORT),
    "blendedmvs": DataSet(
        "folders of NSVF's (rgb/, pose/) or NeuS's layout (image/, mask/, cameras_sphere.npz)",
        captures,
        VIEWS | EFFORT,
        {"data.holdout": "8"},
    ),
    "stanford-orb": DataSet(
        "blender_LDR/ and ground_truth/",
        stanford_orb,
        TIMES_1000 | VIEWS | EFFORT,
        {"task.judge.protocol": "stanford-orb", "task.background": "0"},
        TIMES_1000,
    ),
    "gso30": DataSet(
        "a folder an object with 000.png ... 015.png, or render_mvs_25/model/, and model.obj",
        gso30,
        {"surface.chamfer": "Chamfer", "surface.volume_iou": "volume IoU"} | EFFORT,
        {"task.judge.protocol": "syncdreamer"},
    ),
}


def listed(chosen: DataSet, root: Path, only: str, given: dict[str, Row]) -> list[Row]:
    """The rows of the batch's list.

    Args:
        chosen: the data set.
        root: its folder.
        only: names with commas between; empty: all.
        given: further options by scene.

    Raises:
        StudioError: if there is no scene, or one that is named is not there.
    """
    rows = {str(row["label"]): row for row in chosen.scenes(root.resolve())}
    if not rows:
        raise DataError(f"{root} holds no scenes.", allowed=chosen.looks_for)
    names = only.split(",") if only else list(rows)
    if missing := [name for name in [*names, *given] if name not in rows]:
        raise ConfigError(f"there is no scene {', '.join(missing)}.", allowed=", ".join(rows))
    every = [{**rows[name], **given.get(name, {})} for name in names]
    return [{k: str(v) if isinstance(v, Path) else v for k, v in row.items()} for row in every]


def results(out: Path) -> list[Row]:
    """The lines of a batch's logs, those of all its slices."""
    logs = [read_text(path) for path in sorted(out.glob("results*.jsonl"))]
    rows = [parse_json(line) for log in logs for line in log.splitlines()]
    return [row for row in rows if isinstance(row, dict)]


def markdown(chosen: DataSet, rows: list[Row], order: list[str]) -> str:
    """The table: a row a scene that is done, then their mean, then what failed."""
    done = {row["label"]: row["figures"] for row in rows if row["state"] == "done"}
    shown: dict[str, dict[str, float]] = {}
    for label in sorted(done, key=lambda name: order.index(name) if name in order else len(order)):
        shown[label] = {
            heading: done[label][key] * (1000 if key in chosen.scaled else 1)
            for key, heading in chosen.columns.items()
            if key in done[label]
        }
    headings = [h for h in chosen.columns.values() if any(h in row for row in shown.values())]
    if shown:
        means = {}
        for heading in headings:
            values = [row[heading] for row in shown.values() if heading in row]
            means[heading] = math.fsum(values) / len(values)
        shown[f"mean of {len(done)} of {len(order)}"] = means
    text = table(shown, headings, of="scene")
    for row in rows:
        if row["state"] != "done":
            text += f"\n\n{row['label']}: {row['state']}: {str(row['error']).splitlines()[0]}"
    return text


def main(words: list[str]) -> int:
    """Measure what is not measured yet, and print the table; returns the batch's exit code."""
    if len(words) < 2 or words[0] not in SETS or not all("=" in word for word in words[2:]):
        print(f"python -m benchmarks.public {'|'.join(SETS)} ROOT [key=value ...]", file=sys.stderr)
        return 2
    name, root = words[0], Path(words[1])
    chosen, given = SETS[name], dict(word.split("=", 1) for word in words[2:])
    out = Path(given.get("out", f"outputs/public/{name}"))
    only, scenes, kind = (given.pop(key, "") for key in ("only", "scenes", "table"))
    per_scene = read_json(Path(scenes), '{"scene": {"option": value}}') if scenes else {}
    rows = listed(chosen, existing(root), only, per_scene)
    make_folder(out)
    code = 0
    if kind != "only":
        content = "".join(json.dumps(row) + "\n" for row in rows)
        write_bytes(out / "list.jsonl", content.encode())
        fixed = {"config": "reconstruct", "out": str(out), "task": "measure"}
        every = {**fixed, **chosen.words, **given}
        code = run_batch(str(out / "list.jsonl"), [f"{k}={v}" for k, v in every.items()])
    order = [str(row["label"]) for row in rows]
    text = markdown(chosen, results(out), order)
    write_bytes(out / "table.md", f"{text}\n".encode())
    print(f"\n{text}\n\n{out / 'table.md'}")
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except StudioError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)
