"""Checkpoints that are whole or absent, need no pickle, and are named clearly when broken."""

from __future__ import annotations

import contextlib
import pickle
import shutil
import signal
import threading
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as L
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from studio.errors import WeightsError
from studio.io.files import atomic_write, remove
from studio.io.reading import reading
from studio.io.weights import is_archive, open_pickled
from studio.progress import first_process
from studio.runs.folder import RunFolder

LAUNCHER_SECONDS = 1.0
"""A signal that comes so soon after another is no second wish: torchrun hands Ctrl-C on."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """Training stopped after a whole step because a signal asked for it.

    Attributes:
        signal: the signal's number.
        step: the step that the saved checkpoint holds.
    """

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"stopped by signal {number} after step {step}")
        self.signal = number
        self.step = step


FIELDS: dict[str, type] = {"state_dict": dict, "callbacks": dict, "loops": dict, "global_step": int}
"""What is looked into before training takes a checkpoint up."""


# --- reading --------------------------------------------------------------------------------------


def load_checkpoint(
    path: Path | str, *, allow_pickle: bool = False, mmap: bool = False, whole: bool = False
) -> dict[str, Any]:
    """Read a Lightning checkpoint.

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
    if whole and _is_archive(path) and not _is_whole(path):
        raise _unreadable(path, None)
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
    if isinstance(error, pickle.UnpicklingError) and _is_archive(path):
        return WeightsError(
            f"{path} holds objects that need pickle, which can run code when loaded.",
            allowed="checkpoints of tensors and plain values",
            hint="if you trust where the file comes from, add allow_pickle=true",
        )
    good = previous_good(path)
    return WeightsError(
        f"{path} is damaged or cut short: {path.stat().st_size} bytes that torch cannot read.",
        hint=f"the last good checkpoint is {good}: resume={good}"
        if good
        else f"there is no other good checkpoint in {path.parent}; start again without resume",
    )


def _is_archive(path: Path) -> bool:
    try:
        return is_archive(path)
    except WeightsError:
        return False


def previous_good(path: Path) -> Path | None:
    """The newest other checkpoint beside `path` whose every byte is as it was written."""
    others = [p for p in path.parent.glob("*.ckpt") if p != path and _is_archive(p)]
    newest = sorted(others, key=lambda p: p.stat().st_mtime, reverse=True)
    return next((other for other in newest if _is_whole(other)), None)


def _is_whole(path: Path) -> bool:
    """Whether every byte of an archive is as it was written."""
    with contextlib.suppress(WeightsError), reading(path, error=WeightsError):
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    return False


# --- writing --------------------------------------------------------------------------------------


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


def _base(value: Any) -> Any:
    """A plain value out of a subclass of one (an enum of strings, numpy's float64, ...)."""
    kind = next(k for k in (bool, int, float, str, bytes) if isinstance(value, k))
    return kind(value)


class PlainCheckpointIO(TorchCheckpointIO):
    """Lightning's file access: atomic writes, plain contents, clear messages.

    Args:
        allow_pickle: as for `load_checkpoint`.
    """

    def __init__(self, *, allow_pickle: bool = False) -> None:
        super().__init__()
        self.allow_pickle = allow_pickle

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write the checkpoint; the file appears only when it is whole."""
        with atomic_write(Path(path)) as temporary:
            torch.save(plain_tree(checkpoint), temporary)

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint without pickle, unless it is allowed."""
        return load_checkpoint(path, allow_pickle=self.allow_pickle)


class Checkpointing(L.callbacks.Checkpoint):
    """Saves `ckpts/step=N.ckpt`, also named `ckpts/last.ckpt`, every few steps and at the end.

    Ctrl-C or a termination signal lets the step finish, saves, and stops with `Interrupted`; a
    second one stops at once. Of several processes all stop after the same step, whichever of them
    got the signal.

    Args:
        run: the run folder.
        every: steps between two checkpoints; 0 saves at the end only.
        keep: how many `step=N.ckpt` stay.

    Attributes:
        fitted: hash of what the weights are fitted to, where the system knows it.
    """

    def __init__(self, run: RunFolder, every: int, keep: int) -> None:
        self.run = run
        self.every = every
        self.keep = keep
        self.saved_step = -1
        self.fitted = ""
        self._fresh = False
        self._signal, self._signalled = 0, 0.0
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen to signals; a checkpoint that was resumed from need not be written again."""
        self.saved_step = trainer.global_step
        self._fresh = trainer.global_step == 0
        _count_batches_from_here(trainer)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._on_signal)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save when it is time, and stop if a signal came during the step."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # gradients that wait for the rest of the step are in no checkpoint
        step, number = trainer.global_step, self._agreed_signal(trainer)
        if step == self.saved_step and not number:
            return
        due = bool(self.every) and step % self.every == 0
        if due or number or step >= trainer.max_steps:
            self.save(trainer)
        if number:
            raise Interrupted(number, step)

    def _agreed_signal(self, trainer: L.Trainer) -> int:
        """The signal that any of the processes has got, 0 for none."""
        if trainer.world_size == 1:
            return self._signal
        mine = torch.tensor(self._signal, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(mine, reduce_op="max"))

    def save(self, trainer: L.Trainer) -> None:
        """Write the state as it is now."""
        step = trainer.global_step
        path = self.run.ckpts / f"step={step:08d}.ckpt"
        trainer.save_checkpoint(path)
        self.saved_step = step
        if not trainer.is_global_zero:
            return
        self._remove_older(path)  # first: a run killed in between saves once more, and removes
        with atomic_write(self.run.last_checkpoint) as temporary:
            _second_name(path, temporary)

    def _remove_older(self, path: Path) -> None:
        """Remove what need not be kept: older than `keep`, or of an earlier run in the folder."""
        stored = sorted(self.run.ckpts.glob("step=*.ckpt"))
        mine = [p for p in stored if p.name <= path.name and not self._fresh]
        for old in set(stored) - set(mine[-self.keep :]) - {path}:
            remove(old)
        self._fresh = False

    def state_dict(self) -> dict[str, Any]:
        """What the weights are fitted to, for the checkpoint."""
        return {"fitted": self.fitted}

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the signals back; one that came while the last step was saved stops here."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()
        if number := self._agreed_signal(trainer):
            raise Interrupted(number, trainer.global_step)

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._signal:
            if time.monotonic() - self._signalled < LAUNCHER_SECONDS:
                return
            raise KeyboardInterrupt
        self._signal, self._signalled = number, time.monotonic()
        if first_process():
            print(
                "\nfinishing this step, then saving; press Ctrl-C again to stop at once", flush=True
            )


def _second_name(file: Path, name: Path) -> None:
    """Give a file another name; where the file system has one name a file only, copy it."""
    try:
        name.hardlink_to(file)
    except (OSError, NotImplementedError):
        shutil.copyfile(file, name)


def _count_batches_from_here(trainer: L.Trainer) -> None:
    """Let the first batch after a resume be the first of a step.

    Lightning ends a step at batches whose number divides by accumulate_grad_batches, which may have
    been another number before. Our data go on by step, and so must the count of batches.
    """
    progress = trainer.fit_loop.epoch_loop.batch_progress
    total: Any = progress.total
    open_batches = total.processed - total.completed  # counted when it restarts
    progress.current.reset()
    progress.current.completed = -open_batches
