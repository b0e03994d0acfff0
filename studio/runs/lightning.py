"""Training by Lightning in a run folder, for the systems that it trains."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from studio.config import ExperimentConfig
from studio.runs.callbacks.checkpointing import Checkpointing
from studio.runs.callbacks.ema import EMA
from studio.runs.checkpoints import load_checkpoint
from studio.runs.distributed import end_others, without_company
from studio.runs.folder import RunFolder
from studio.runs.restoring import say_restored, state_refused, weights_errors
from studio.runs.trainer import make_loggers, make_trainer


class LightningTraining:
    """Does with Lightning what `studio.runs.fitting.FitInFolder` does for scene models.

    Args:
        cfg: the whole config; its `trainer` part is used.
        run: where checkpoints, logs and pictures go.
        system: a `studio.systems.base.System`.

    Attributes:
        is_first: whether this process of several prints and writes.
        device: where the system is to be.
        weights: the checkpoint of the weights that are in place, and its step.
    """

    def __init__(self, cfg: ExperimentConfig, run: RunFolder, system: Any) -> None:
        self.cfg, self.run, self.system = cfg, run, system
        self.trainer: Any = make_trainer(cfg, run, system)
        self.is_first: bool = self.trainer.is_global_zero
        self.device: torch.device = self.trainer.strategy.root_device
        self.weights = run.last_checkpoint, 0

    @property
    def fitted(self) -> str:
        """Hash of what the weights are fitted to, kept in the checkpoints."""
        return self._checkpointing.fitted

    @fitted.setter
    def fitted(self, key: str) -> None:
        self._checkpointing.fitted = key

    @property
    def _checkpointing(self) -> Checkpointing:
        (found,) = (c for c in self.trainer.callbacks if isinstance(c, Checkpointing))
        return found

    @property
    def _means(self) -> list[EMA]:
        return [c for c in self.trainer.callbacks if isinstance(c, EMA)]

    def open_logs(self) -> None:
        """Make the loggers, where the run folder is."""
        self.trainer.loggers = make_loggers(self.cfg, self.run)

    def fit(self, resume: Path | None) -> None:
        """Train, from the beginning or on from a checkpoint.

        Raises:
            Interrupted: after a signal; what has been made is saved.
            StudioError: if training cannot go on, or the checkpoint cannot be taken up.
        """
        try:
            with weights_errors(resume), own_signals():
                self.trainer.fit(self.system, ckpt_path=resume)
            self.weights = self.run.last_checkpoint, int(self.trainer.global_step)
        except Exception as error:
            lost = without_company(error, self.trainer, self.cfg.trainer.timeout_minutes)
            end_others(self.trainer, lost)
            if lost is not None:
                raise lost from error
            if resume is not None and self._checkpointing.saved_step < 0:  # not all was taken up
                with state_refused(resume):
                    raise
            raise

    def measure(self, verb: str) -> Iterator[dict[str, float]]:
        """Validate or test."""
        how = self.trainer.validate if verb == "validate" else self.trainer.test
        with own_signals():
            yield from how(self.system, verbose=False)

    def restore(self, path: Path) -> None:
        """Load a checkpoint's weights, and the mean weights where it has them, for later use."""
        content = load_checkpoint(path, allow_pickle=self.cfg.allow_pickle)
        states = content.get("callbacks", {})
        with state_refused(path), weights_errors(path):
            self.system.on_load_checkpoint(content)
            self.system.load_state_dict(content["state_dict"])
            for mean in self._means:
                if state := states.get(mean.state_key):
                    mean.load_state_dict(state)
                    mean.updates = 0  # training from these weights starts a count of its own
            fitted = states.get(Checkpointing.__name__, {}).get("fitted")
            self.weights = path, int(content.get("global_step", 0))
        if self.is_first:
            say_restored(path, content, fitted, self.system)

    def final_weights(self) -> AbstractContextManager[None]:
        """A context in which the mean weights stand in, if the system keeps them."""
        for mean in self._means:
            return mean.applied(self.system)
        return contextlib.nullcontext()


@contextlib.contextmanager
def own_signals() -> Iterator[None]:
    """Let Lightning's loops leave signals as they were, and Ctrl-C a `KeyboardInterrupt`.

    Lightning turns that into `sys.exit(1)`, and leaves handlers of its own behind.
    """
    ours = (signal.SIGINT, signal.SIGTERM)
    main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in ours} if main_thread else {}
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
