"""`launch.py --evaluate`: what was measured as a JSON file and a table."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from typing import Any

from studio.config import parse_config
from studio.evaluation.judge import measured
from studio.evaluation.options import EvaluateConfig
from studio.io.files import write_json
from studio.version import __version__


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
