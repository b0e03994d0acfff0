"""Checkpoint files: plain values and tensors, read without running what they hold."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.errors import WeightsError
from studio.io.files import atomic_write
from studio.io.weights import open_pickled
from studio.runs.checkpoint_files import archive_at, damaged, is_whole

FIELDS: dict[str, type] = {"state_dict": dict, "callbacks": dict, "loops": dict, "global_step": int}
"""What is looked into before training takes a checkpoint up."""


def load_checkpoint(
    path: Path | str, *, allow_pickle: bool = False, mmap: bool = False, whole: bool = False
) -> dict[str, Any]:
    """Read a checkpoint.

    Args:
        path: the .ckpt file.
        allow_pickle: read files that hold more than tensors and plain values; they can run code.
        mmap: map tensors instead of reading them, to look at a file quickly.
        whole: hold every byte against its checksum.

    Raises:
        WeightsError: if it is missing, cut short, needs pickle or is not a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"the checkpoint {path} does not exist.")
    try:
        content = open_pickled(path, weights_only=not allow_pickle, mmap=mmap)
    except WeightsError as error:
        if isinstance(error.__cause__, PermissionError):
            raise
        raise _unreadable(path, error.__cause__) from error
    if whole and archive_at(path) and not is_whole(path):
        raise damaged(path)
    if not isinstance(content, dict) or "state_dict" not in content:
        raise WeightsError(
            f"{path} is not a checkpoint of this program: it holds no state_dict.",
            hint="weights of a guidance method belong into its own option, not into resume",
        )
    for name, kind in FIELDS.items():
        if not isinstance(content.get(name, kind()), kind):
            raise WeightsError(
                f"{path}: {name} is a {type(content[name]).__name__}.",
                allowed=f"a {kind.__name__}, as this program writes it",
            )
    return content


def _unreadable(path: Path, error: BaseException | None) -> WeightsError:
    if isinstance(error, pickle.UnpicklingError) and archive_at(path):
        return WeightsError(
            f"{path} holds objects that need pickle, which can run code when loaded.",
            allowed="checkpoints of tensors and plain values",
            hint="if you trust where the file comes from, add allow_pickle=true",
        )
    return damaged(path)


def plain_tree(value: Any, key: str = "checkpoint") -> Any:
    """The same tree made of tensors, dicts, lists and plain values only, as weights_only needs.

    Raises:
        TypeError: if it holds something else; the place is named.
    """
    if value is None or isinstance(value, str | bytes | bool | int | float):
        return value if type(value) in (str, bytes, bool, int, float, type(None)) else _base(value)
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {plain_tree(k, key): plain_tree(v, f"{key}.{k}") for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(plain_tree(v, f"{key}[{i}]") for i, v in enumerate(value))
    if isinstance(value, list | set | frozenset):
        return [plain_tree(v, f"{key}[{i}]") for i, v in enumerate(value)]
    raise TypeError(
        f"{key} is a {type(value).__qualname__}: checkpoints hold tensors and plain values only"
    )


def save_checkpoint(content: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint; the file appears only when it is whole."""
    with atomic_write(path) as temporary:
        torch.save(plain_tree(content), temporary)


def _base(value: Any) -> Any:
    """A plain value out of a subclass of one (an enum of strings, numpy's float64, ...)."""
    kind = next(k for k in (bool, int, float, str, bytes) if isinstance(value, k))
    return kind(value)
