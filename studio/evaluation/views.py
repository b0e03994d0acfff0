"""Pictures against pictures, pair by pair."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.errors import DataError
from studio.evaluation.options import Judging, shown

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from studio.evaluation.options import Judged
    from studio.metrics.lpips import LPIPS
    from studio.metrics.protocols import Protocol

    Picture = Float[Tensor, "4 h w"]
    Pictures = dict[str, Callable[[], Picture]]

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


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
