"""Measuring one thing against another of its kind: meshes, or sets of views."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.config import parse_config
from studio.errors import ConfigError, DataError
from studio.evaluation.meshes import evaluate_meshes
from studio.evaluation.options import EvaluateConfig, Judging
from studio.evaluation.views import evaluate_views
from studio.progress import StageProgress

if TYPE_CHECKING:
    from studio.evaluation.options import Judged


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
