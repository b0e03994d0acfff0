"""How far half precision moves what the methods compute: `python -m tests.parity.half [CASE...]`.

Runs parity cases of networks and samplers with weights and products in bfloat16 and in float16, as
the option `precision` does, and holds every tensor against the authors' float32. Prints a line a
case and a table row a method. A processor computes float16, too, for the tests; sampling
itself does not, see `studio.guidance.precision.sampling_type`.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from studio.guidance.precision import store
from tests.parity.case import Case, compute, load_case

OWN = Path(__file__).parent / "cases"
KINDS = (torch.bfloat16, torch.float16)
TOLERANCES = {
    "epidiff": (0.06, 0.008),
    "eschernet": (0.06, 0.008),
    "spad": (0.04, 0.005),
    "viewfusion-composable": (0.06, 0.012),
    "viewfusion-interpolated": (0.04, 0.006),
}
"""Relative error that any tensor of a method's cases may have in `KINDS`, see `error`."""
_OTHER = re.compile(r"training|dataset|checkpoint|epipolar|rig")


def computes_networks(folder: Path) -> bool:
    """Whether a case is of a method's networks in sampling, not of its training or cameras alone.

    Args:
        folder: of the case.
    """
    files = all((folder / f"{name}.safetensors").is_file() for name in ("weights", "outputs"))
    known = folder.parent.name.replace("_", "-") in TOLERANCES
    return files and known and _OTHER.search(folder.name) is None


@contextlib.contextmanager
def half_precision(kind: torch.dtype) -> Iterator[None]:
    """Compute networks at a precision, their weights stored in it before they are first used."""
    stored: set[nn.Module] = set()

    def before(module: nn.Module, _: Any) -> None:
        if module not in stored:
            store(module, kind)
            stored.update(module.modules())

    hook = torch.nn.modules.module.register_module_forward_pre_hook(before)
    try:
        with torch.autocast("cpu", dtype=kind):
            yield
    finally:
        hook.remove()


def error(found: Tensor, wanted: Tensor) -> float:
    """Root mean square of the difference, relative to that of what is wanted."""
    found, wanted = found.detach().double().flatten(), wanted.double().flatten()
    same = found == wanted  # infinities, too
    off = (found - wanted).masked_fill(same, 0).square().mean().sqrt()
    return float(off / wanted[wanted.isfinite()].square().mean().sqrt().clamp(min=1e-12))


def errors(case: Case, kind: torch.dtype) -> dict[str, float]:
    """Return the error of every tensor that a case expects and we compute."""
    wanted = load_file(case.folder / "outputs.safetensors")
    with half_precision(kind):
        found = compute(case)
    names = [n for n in sorted(wanted.keys() & found.keys()) if not n.startswith("train.")]
    return {name: error(found[name], wanted[name]) for name in names}


def method(case: Case) -> str:
    """Return the method's name as users write it."""
    return case.method.replace("_", "-")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the worst error of every case, then a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity.half", description=__doc__)
    parser.add_argument("cases", nargs="*", type=Path, metavar="CASE_FOLDER")
    folders = parser.parse_args(argv).cases or sorted(OWN.glob("*/*"))
    torch.set_num_threads(1)
    worst: dict[str, list[float]] = {}
    for folder in filter(computes_networks, folders):
        case = load_case(folder.resolve())
        for i, kind in enumerate(KINDS):
            found = errors(load_case(folder.resolve()), kind)
            name = max(found, key=lambda n: found[n])
            print(f"{method(case)}/{folder.name} {str(kind)[6:]}: {found[name]:.2%} in {name}")
            row = worst.setdefault(method(case), [0.0, 0.0])
            row[i] = max(row[i], found[name])
    print("\n| method | bfloat16 | may be | float16 | may be |\n| --- | --- | --- | --- | --- |")
    for name, row in worst.items():
        pairs = zip(row, TOLERANCES[name], strict=True)
        print(f"| {name} | " + " | ".join(f"{a:.2%} | {b:.1%}" for a, b in pairs) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
