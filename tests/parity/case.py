"""A parity case on disk, and the adapter that can run it.

A case folder holds `case.json` (configuration, meaning of every tensor, tolerances),
`inputs.safetensors`, mostly `weights.safetensors` in the authors' names, and at times small files.
`outputs.safetensors` is never read here: the comparison is done elsewhere.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from studio.errors import ConfigError
from tests.parity.settings import Settings, Unsupported

Adapter = Callable[["Case"], dict[str, Tensor]]


@dataclass(frozen=True)
class Case:
    """One parity case; weights and inputs are read from disk when first asked for."""

    folder: Path
    """The case's folder: small data files are found relative to it."""
    meta: dict[str, Any]
    """Everything that `case.json` says."""

    @cached_property
    def config(self) -> Settings:
        """What is needed to build the tiny model, and how to run it."""
        config = Settings(self.meta.get("config", {}))
        config.about("class", "note", "objects", "seed")
        return config

    @property
    def kind(self) -> str:
        """Name of the case kind, which a held-out case may extend ("sample" -> "sample_b")."""
        return str(self.meta.get("case", self.folder.name))

    @property
    def method(self) -> str:
        """Module name of the method: "viewfusion-interpolated" -> "viewfusion_interpolated"."""
        return str(self.meta.get("method", self.folder.parent.name)).replace("-", "_")

    @property
    def weights_path(self) -> Path:
        """The file of weights in the authors' names; absent where no network is involved."""
        return self.folder / "weights.safetensors"

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """State dict in the authors' names, empty where no network is involved."""
        return load_file(self.weights_path) if self.weights_path.exists() else {}

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        """Every input tensor, noise draws included."""
        path = self.folder / "inputs.safetensors"
        return load_file(path) if path.exists() else {}


def load_case(folder: Path) -> Case:
    """Read `case.json` of a folder."""
    return Case(folder, json.loads((folder / "case.json").read_text()))


def _adapters(method: str) -> dict[str, Adapter]:
    """Adapters of `tests/parity/<method>.py` and of all `tests/parity/<method>_<topic>.py`."""
    if not method.isidentifier():
        return {}
    files = sorted(Path(__file__).parent.glob(f"{method}.py"))
    files += sorted(Path(__file__).parent.glob(f"{method}_*.py"))
    found: dict[str, Adapter] = {}
    for file in files:
        found |= getattr(importlib.import_module(f"tests.parity.{file.stem}"), "CASES", {})
    return found


def find_adapter(case: Case) -> Adapter | None:
    """The function that computes a case: by method, then by the longest kind that starts its name.

    Method and kind are looked up in `case.json` first, then in the folder names.
    """
    for module in dict.fromkeys((case.method, case.folder.parent.name)):
        known = _adapters(module)
        for name in dict.fromkeys((case.kind, case.folder.name)):
            kinds = [k for k in known if name == k or name.startswith(f"{k}_")]
            if kinds:
                return known[max(kinds, key=len)]
    return None


def compute(case: Case) -> dict[str, Tensor]:
    """Every tensor that the project computes for a case.

    Raises:
        Unsupported: if it has no adapter, or a setting that its adapter makes no use of.
    """
    adapter = find_adapter(case)
    if adapter is None:
        raise Unsupported(f"no adapter for {case.method}/{case.kind}")
    try:
        tensors = adapter(case)
    except ConfigError as error:
        raise Unsupported(str(error)) from error
    if unused := case.config.unused():
        raise Unsupported(f"no use is made of config: {', '.join(unused)}")
    return tensors
