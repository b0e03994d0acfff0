"""`launch.py --evaluate`: one mesh or folder of views against another, under a named protocol."""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from studio.config import parse_config
from studio.errors import ConfigError, DataError
from studio.io.files import write_json
from studio.plugins.ranges import Angle
from studio.progress import StageProgress
from studio.version import __version__

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from studio.mesh import Mesh
    from studio.metrics.lpips import LPIPS
    from studio.metrics.protocols import Protocol
    from studio.views import ViewSet

    Judged = str | Path | Mesh | ViewSet
    Picture = Float[Tensor, "4 h w"]
    Pictures = dict[str, Callable[[], Picture]]

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass
class Judging:
    """How a pair is measured."""

    protocol: Literal["studio", "eschernet", "syncdreamer", "viewfusion", "stanford-orb"] = "studio"
    """What is measured, and how."""
    pred_up: Literal["auto", "+y", "+z"] = "auto"
    """Which way is up in the judged mesh: +y, +z or auto (what glTF defines and what files of this program say, else +z)."""  # noqa: E501
    reference_up: Literal["auto", "+y", "+z"] = "auto"
    """The same of the reference."""
    rotate_deg: Angle = 0.0
    """Turn the judged mesh about +Z, counter-clockwise seen from above, before anything else."""
    match: Literal["name", "order"] = "name"
    """Which pictures belong together: those of equal name, or in the order of their names."""
    lpips: str = ""
    """File or folder with the backbone's weights; empty leaves LPIPS out."""


@dataclass
class EvaluateConfig(Judging):
    """Words of `--evaluate`."""

    pred: str = ""
    """What is judged: a mesh file, a folder with transforms.json, or a folder of pictures."""
    reference: str = ""
    """What it is judged against, of the same kind."""
    out: str = "evaluation.json"
    """Where the result is written."""


def evaluate(
    pred: Judged, reference: Judged, protocol: str = "studio", **options: Any
) -> dict[str, Any]:
    """Measure one mesh or set of views against another.

    Args:
        pred: what is judged: a mesh file, a folder of views or pictures, a `Mesh` or a `ViewSet`.
        reference: what it is judged against, of the same kind.
        protocol: see `studio.metrics.protocols`.
        options: others of `EvaluateConfig`, such as ``rotate_deg`` or ``lpips``.

    Returns:
        ``metrics`` (figure by name), ``protocol`` (what they mean), ``pred`` and ``reference``
        (what was read), ``warnings``, and of views ``pairs``, ``views`` (a row a pair) and
        ``left_out``.

    Raises:
        StudioError: if an option, a file or the pair cannot be used.
    """
    given = {"pred": pred, "reference": reference}
    named = {
        name: str(value) if isinstance(value, str | Path) else "" for name, value in given.items()
    }
    cfg = parse_config(EvaluateConfig, {**named, "protocol": protocol, **options})
    return measured(cfg, pred, reference)


def measured(cfg: Judging, pred: Judged, reference: Judged) -> dict[str, Any]:
    """Measure as `evaluate` does, by checked options."""
    for key, given in (("pred", pred), ("reference", reference)):
        _check_there(key, given)
    from studio.metrics.protocols import PROTOCOLS  # which loads torch

    kinds = {"pred": _kind("pred", pred), "reference": _kind("reference", reference)}
    if len(set(kinds.values())) > 1:
        raise ConfigError(
            f"pred is {kinds['pred']}, reference is {kinds['reference']}.",
            allowed="two meshes, or two folders of views",
        )
    how = evaluate_meshes if kinds["pred"] == "a mesh" else evaluate_views
    with StageProgress("measuring"):
        return how(cfg, PROTOCOLS[cfg.protocol], pred, reference)


def run_evaluation(words: Sequence[str]) -> int:
    """Measure, write the JSON file and print a table; returns the exit code.

    Args:
        words: `key=value` words, the keys of `EvaluateConfig`.

    Raises:
        StudioError: if a word, a file or the pair cannot be used; nothing has been written then.
    """
    cfg = parse_config(EvaluateConfig, dict(word.split("=", 1) for word in words))
    result = measured(cfg, cfg.pred, cfg.reference)
    result = {"program": f"studio {__version__}", "versions": _versions(), **result}
    write_json(cfg.out, finite(result))
    print_table(result)
    print(cfg.out)
    return 0


def _check_there(key: str, given: Judged) -> None:
    """Refuse a path that is missing."""
    wanted = "a mesh's file, or a folder of views"
    if not isinstance(given, str | Path):
        return
    if not str(given):
        raise ConfigError(f"{key}=... has to be given.", allowed=wanted)
    if not Path(given).exists():
        raise DataError(f"{key} is {given}, which does not exist.", allowed=wanted)


def _kind(key: str, given: Judged) -> str:
    """Say what is given: "a mesh" or "a folder of views"."""
    from studio.export.readers import FORMATS, USD, unreadable
    from studio.mesh import Mesh

    if isinstance(given, Mesh):
        return "a mesh"
    if not isinstance(given, str | Path):
        return "a folder of views"
    path = Path(given)
    if path.is_dir() or path.suffix == ".json":
        return "a folder of views"
    if path.suffix.lower() in USD:
        raise unreadable(f"{key}: {path}", path)
    if path.suffix.lower() not in FORMATS:
        allowed = f"a mesh ({', '.join(FORMATS)}) or a folder of views"
        raise DataError(f"{key} is {path}, a file of another kind.", allowed=allowed)
    return "a mesh"


# --- meshes ---------------------------------------------------------------------------------------


def evaluate_meshes(
    cfg: Judging, protocol: Protocol, pred: Judged, wanted: Judged
) -> dict[str, Any]:
    """Judge one mesh against another."""
    (mesh, about_mesh), (reference, about_reference) = read_pair(cfg, pred, wanted)
    warnings = [
        f"{about['path']} has {about['open_edges']} open edges: volume_iou counts crossings of "
        "its surface, which an open one answers only where the holes are not in the way"
        for about in (about_mesh, about_reference)
        if about["open_edges"] > 0
    ]
    try:
        figures = protocol.meshes.measure(turned(mesh, cfg.rotate_deg), reference)
    except ValueError as error:  # the ring of cameras sees nothing
        raise DataError(
            f"{shown(pred)} and {shown(wanted)} cannot be compared: {error}.",
            hint=f"protocol {protocol.name} normalises: {protocol.meshes.normalises}",
        ) from error
    return {
        "kind": "meshes",
        "protocol": protocol.describe(protocol.meshes) | {"rotate_deg": cfg.rotate_deg},
        "pred": about_mesh,
        "reference": about_reference,
        "metrics": figures,
        "warnings": warnings,
    }


def turned(mesh: Mesh, degrees: float) -> Mesh:
    """Turn a mesh about +Z, counter-clockwise seen from above."""
    import numpy as np

    if not degrees:
        return mesh
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return replace(mesh, vertices=(mesh.vertices @ rotation.T).astype(np.float32), normals=None)


def read_pair(cfg: Judging, pred: Judged, reference: Judged) -> list[tuple[Mesh, dict[str, Any]]]:
    """Read the judged mesh and the reference into one world, and say what they are."""
    import numpy as np

    from studio.export.readers import read_record, read_together
    from studio.mesh import Mesh
    from studio.metrics.surface import Surface

    given, ups = [pred, reference], [cfg.pred_up, cfg.reference_up]
    meshes = read_together([x if isinstance(x, Mesh) else Path(str(x)) for x in given], ups)
    found = []
    for source, up, mesh in zip(given, ups, meshes, strict=True):
        if not np.isfinite(mesh.vertices).all() or not mesh.area > 0:
            raise DataError(f"mesh {shown(source)} has no area, or vertices that are not finite.")
        filed = isinstance(source, str | Path) and up == "auto"
        record = read_record(Path(source)) if filed else None  # type: ignore[arg-type]
        about: dict[str, Any] = {
            "path": shown(source),
            "vertices": len(mesh.vertices),
            "faces": len(mesh.faces),
            "open_edges": Surface(mesh).open_edges,
            "brought_back_from": None if record is None else record["world"],
        }
        found.append((mesh, about))
    return found


# --- views ----------------------------------------------------------------------------------------


def evaluate_views(
    cfg: Judging, protocol: Protocol, pred: Judged, reference: Judged
) -> dict[str, Any]:
    """Judge the pictures of one folder against those of another, one pair at a time."""
    made, wanted = read_pictures(pred), read_pictures(reference)
    pairs = matched(made, wanted, cfg)
    lpips, left_out = _lpips(cfg, protocol)
    rows: list[dict[str, Any]] = []
    for name, other in pairs:
        figures = _judge(protocol, made[name](), wanted[other](), lpips, f"{name} and {other}")
        rows.append({"pred": name, "reference": other, **figures})
    keys = [key for key in protocol.views.figures if all(key in row for row in rows)]
    return {
        "kind": "views",
        "protocol": protocol.describe(protocol.views),
        "pred": {"path": shown(pred), "pictures": len(made)},
        "reference": {"path": shown(reference), "pictures": len(wanted)},
        "pairs": len(rows),
        "metrics": {key: sum(row[key] for row in rows) / len(rows) for key in keys},
        "left_out": left_out,
        "views": rows,
        "warnings": [],
    }


def shown(given: Judged) -> str:
    """Say where something judged comes from: its path, or that it is in memory."""
    return str(given) if isinstance(given, str | Path) else f"(a {type(given).__name__} in memory)"


def read_pictures(given: Judged) -> Pictures:
    """Return name and reader of every picture of a `ViewSet`, its folder or a plain folder.

    Raises:
        DataError: if there is none, or one cannot be read.
    """
    from studio.io.images import read_rgba
    from studio.views import ViewSet

    views, folder = given, Path()
    if isinstance(given, str | Path):
        folder = Path(given)
        if folder.is_file() or any(folder.glob("transforms*.json")):
            views = ViewSet.load(folder)
    if isinstance(views, ViewSet):
        names = views.names or tuple(f"{i:03d}" for i in range(len(views)))
        return {
            Path(name).stem: (lambda picture=picture: picture)  # type: ignore[misc]
            for name, picture in zip(names, views.images, strict=True)
        }
    files = [p for p in folder.iterdir() if p.suffix.lower() in PICTURES]
    if not files:
        raise DataError(
            f"folder {folder} holds no pictures.",
            allowed=f"transforms.json, or {', '.join(PICTURES)} files",
        )
    if len({p.stem for p in files}) < len(files):
        raise DataError(f"folder {folder} holds two pictures of one name, but for the suffix.")
    return {p.stem: (lambda p=p: read_rgba(p)) for p in sorted(files, key=_natural)}  # type: ignore[misc]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorting key by which 2 comes before 10."""
    return [(int(digits or 0), word) for word, digits in re.findall(r"(\D*)(\d*)", path.stem)]


def matched(made: Pictures, wanted: Pictures, cfg: Judging) -> list[tuple[str, str]]:
    """Pair the names; every judged picture needs a reference, not the other way round.

    Raises:
        DataError: if they cannot be paired.
    """
    if cfg.match == "order":
        if len(made) != len(wanted):
            raise DataError(
                f"match is order, but pred has {len(made)} pictures and reference {len(wanted)}.",
                allowed="equally many",
            )
        return list(zip(made, wanted, strict=True))
    if missing := [name for name in made if name not in wanted]:
        raise DataError(
            f"the reference has no picture named {', '.join(missing[:4])}"
            f"{' ...' if len(missing) > 4 else ''}.",
            allowed=f"its names: {', '.join(list(wanted)[:6])}{' ...' if len(wanted) > 6 else ''}",
            hint="rename the pictures, or give match=order for pairs in the order of names",
        )
    return [(name, name) for name in made]


def _lpips(cfg: Judging, protocol: Protocol) -> tuple[LPIPS | None, dict[str, str]]:
    from studio.metrics.lpips import BACKBONE_FILES, LPIPS

    backbone = protocol.views.backbone
    if not cfg.lpips:
        file = BACKBONE_FILES[backbone]
        return None, {"lpips": f"needs weights: give lpips=FOLDER with torchvision's {file}"}
    return LPIPS.load(backbone, cfg.lpips), {}


def _judge(
    protocol: Protocol, a: Picture, b: Picture, lpips: LPIPS | None, what: str
) -> dict[str, float]:
    from studio.metrics.lpips import SMALLEST

    if a.shape != b.shape:
        raise DataError(
            f"pictures {what} have {a.shape[2]}x{a.shape[1]} and {b.shape[2]}x{b.shape[1]} pixels.",
            allowed="equal sizes",
            hint="resize the larger ones first; the way it is done is part of a result",
        )
    if min(a.shape[1:]) < SMALLEST:
        raise DataError(f"pictures {what} are smaller than {SMALLEST} pixels.")
    return protocol.views.measure(a, b, lpips)


# --- the result -----------------------------------------------------------------------------------


def _versions() -> dict[str, str]:
    import numpy
    import torch

    return {
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "torch": str(torch.__version__),
    }


def finite(value: Any) -> Any:
    """Write an infinite PSNR (equal pictures) as a word, since JSON has no number for it."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def print_table(result: dict[str, Any]) -> None:
    """Print figures with their meanings, what was left out, and warnings."""
    protocol = result["protocol"]
    print(f"protocol {protocol['name']}: {result['pred']['path']} | {result['reference']['path']}")
    for name, value in result["metrics"].items():
        print(f"  {name:<20} {value:>10.5f}  {protocol['figures'][name]}")
    for name, reason in result.get("left_out", {}).items():
        print(f"  {name:<20} {'-':>10}  {reason}")
    for warning in result["warnings"]:
        print(f"  warning: {warning}")
