"""A fit of a scene model in a run folder: checkpoints, log, previews, signals, and going on."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studio.config import ExperimentConfig, TrainerConfig
from studio.errors import TrainingError
from studio.ops.backend import announce_choices
from studio.runs.checkpoints import load_checkpoint, save_checkpoint
from studio.runs.csv_log import CsvLog
from studio.runs.distributed import without_apple
from studio.runs.folder import RunFolder
from studio.runs.previews import write_preview
from studio.runs.random_states import random_state, set_random_state
from studio.runs.restoring import does_not_fit, say_restored, state_refused, weights_errors
from studio.runs.shown import ShownTraining
from studio.runs.signals import Interrupted, StopSignals
from studio.runs.snapshot import write_snapshot
from studio.runs.stored import StoredCheckpoints


class FitInFolder:
    """Does for the command line what `SceneSystem.fit` does in memory, and keeps it.

    Checkpoints are what Lightning would write for the system: those of earlier versions, which were
    written by it, are taken up, too.

    Args:
        cfg: the whole config; its `trainer` part is used.
        run: where checkpoints, logs and pictures go.
        system: holds the model; a `SceneSystem`.

    Attributes:
        is_first: whether this process prints and writes; there is only one.
        device: where the model is to be.
        fitted: hash of what the model is fitted to, kept in the checkpoints.
        weights: the checkpoint of the weights that are in place, and its step.
    """

    is_first = True

    def __init__(self, cfg: ExperimentConfig, run: RunFolder, system: Any) -> None:
        self.cfg, self.run, self.system = cfg, run, system
        self.options = without_apple(cfg.trainer)
        self.steps = self.options.max_steps or 0
        self.device = device_of(self.options)
        if self.options.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        self.fitted = ""
        self.step = 0
        self.weights = run.last_checkpoint, 0
        self.loggers: list[Any] = []
        self.signals = StopSignals()
        self.stored = StoredCheckpoints(run, self.options.keep_checkpoints)
        self.shown = ShownTraining(run)

    def open_logs(self) -> None:
        """Make the loggers, where the run folder is."""
        self.loggers = [CsvLog(self.run.logs)]
        if self.options.logger != "csv":
            from studio.runs.trainer import further_loggers

            self.loggers += further_loggers(self.cfg, self.run)

    # --- the fit --------------------------------------------------------------------------------

    def fit(self, resume: Path | None) -> None:
        """Fit the model, from the beginning or on from a checkpoint.

        Raises:
            Interrupted: after a signal; what has been made is saved.
            TrainingError: if a loss or gradient is not finite; the weights are as before.
        """
        model, system = self.system.model, self.system
        write_snapshot(self.run)
        if resume is not None:
            self._take_up(resume)
        self.steps = model.steps_to_make(self.options.max_steps)
        self.stored.fresh = self.step == 0
        self.signals.listen()
        try:
            system.train()
            limits = (max(0, self.steps), system.cfg.time_budget_s)
            losses: Mapping[str, Tensor] = {}
            for made in model.run_steps(*limits, self._checked_update(model)):
                self.shown.open(*self._place())
                self.step += 1
                losses = made or losses
                if model.done or self._looks():
                    self._look(losses)
        except TrainingError as error:
            raise TrainingError(str(error), hint=self._way_back()) from error
        finally:
            self.shown.close()
            for logger in self.loggers:
                logger.save()
            self.signals.give_back()
        self.weights = self.run.last_checkpoint, self.step
        for line in model.findings():
            print(line)

    def _looks(self) -> bool:
        """Whether a block of steps ends here, or earlier for what is due."""
        its = self.options
        due = (its.log_every_n_steps, its.validate_every, its.preview_every, its.checkpoint_every)
        return any(map(self._due, (self.system.cfg.steps_per_block, *due)))

    def _look(self, losses: Mapping[str, Tensor]) -> None:
        """Do what is due after a block of steps."""
        step, options, done = self.step, self.options, self.system.model.done
        announce_choices()
        values = {f"train/{k}": float(v) for k, v in losses.items()}
        self.shown.tell(*self._place()[:2], step, self.steps, values)
        figures = {f"train/{k}": v for k, v in self.system.model.figures().items()}
        if done or self._due(options.log_every_n_steps):
            self._log({**values, **figures})
        if self._due(options.validate_every):
            self._log(self.system.eval().measure(options.validate_batches))
        if options.preview_every and (done or self._due(options.preview_every)):
            write_preview(self.run, self.system, step, contextlib.nullcontext(), self.loggers)
        self.system.train()
        if done or self.signals.number or self._due(options.checkpoint_every):
            self.save()
        if self.signals.number:
            raise Interrupted(self.signals.number, step)

    def _due(self, every: int) -> bool:
        """Whether something is due that is done every so many steps; 0: never."""
        return bool(every) and self.step % every == 0

    def _log(self, values: Mapping[str, float]) -> None:
        for logger in self.loggers:
            logger.log_metrics(values, step=self.step)

    def _place(self) -> tuple[int, int, str]:
        """How much is done of how much, in what: steps, or seconds where only they are limited."""
        steps, seconds = self.steps, self.system.cfg.time_budget_s
        if steps > 0 or seconds <= 0:
            return self.step, max(0, steps), ""
        whole = math.ceil(seconds)
        return min(int(self.system.model.progress * seconds), whole), whole, "s"

    def _checked_update(self, model: Any) -> Any:
        """What steps the optimiser, once every gradient is finite."""
        optimizer = model.optimizer
        if optimizer is None:
            return None

        def update() -> None:
            check_gradients(model, self.step)
            optimizer.step()

        return update

    def _way_back(self) -> str:
        """What a run that went wrong can be continued from."""
        last = self.run.last_checkpoint
        if not last.is_file():
            return "no checkpoint had been written yet"
        return f"the last good checkpoint is {last}: resume=last goes on there"

    # --- checkpoints ----------------------------------------------------------------------------

    def save(self) -> None:
        """Write the state as it is now."""
        model, optimizer = self.system.model, self.system.model.optimizer
        content = {
            "state_dict": self.system.state_dict(),
            "optimizer_states": [] if optimizer is None else [optimizer.state_dict()],
            "global_step": self.step,
            "fitter": model.fit_state(),
            "callbacks": {"Checkpointing": {"fitted": self.fitted}, "RngState": random_state()},
        }
        save_checkpoint(content, self.stored.path(self.step))
        self.stored.written(self.step)

    def restore(self, path: Path) -> None:
        """Load a checkpoint's weights, for later use."""
        content = self._load(path)
        with state_refused(path):
            fitted = content.get("callbacks", {}).get("Checkpointing", {}).get("fitted")
            self.weights = path, int(content.get("global_step", 0))
        say_restored(path, content, fitted, self.system)

    def _take_up(self, path: Path) -> None:
        """Go on where a checkpoint was written."""
        content = self._load(path)
        optimizer = self.system.model.optimizer
        with state_refused(path):
            self.step = int(content["global_step"])
            if optimizer is not None:
                optimizer.load_state_dict(content["optimizer_states"][0])
            set_random_state(content["callbacks"]["RngState"])

    def _load(self, path: Path) -> dict[str, Any]:
        """Read a checkpoint into the system; weights of old files get their new names."""
        content = load_checkpoint(path, allow_pickle=self.cfg.allow_pickle)
        with state_refused(path), weights_errors(path):
            state = weights_in(content)
            if fitted := content.get("fitter"):
                self.system.model.load_fit_state(fitted)  # first: it may change what weights fit
            self.system.load_state_dict(state)
        return content

    # --- what comes after -----------------------------------------------------------------------

    def measure(self, verb: str) -> Iterator[dict[str, float]]:
        """Measure the model on the held-out views, if there are any."""
        most = self.options.validate_batches if verb == "validate" else 0
        if figures := self.system.eval().measure(most):
            yield figures

    def final_weights(self) -> AbstractContextManager[None]:
        """A context in which the weights to be exported are in place: they always are."""
        return contextlib.nullcontext()


def weights_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of a checkpoint by their present names: in old files they lack a part."""
    state = content["state_dict"]
    if any(name.startswith("model.") for name in state):
        return dict(state)
    return {f"model.{name}": value for name, value in state.items()}


def check_fits(path: Path, system: Any, *, allow_pickle: bool, resume: bool) -> None:
    """Refuse a checkpoint of another kind of model, or of a training, before views are made.

    What depends on the views, such as sizes that follow from them, is refused when it is loaded.

    Args:
        path: of the checkpoint.
        system: that is to have its weights.
        allow_pickle: see `load_checkpoint`.
        resume: whether the fit is to go on from it.

    Raises:
        WeightsError: saying why.
    """
    content = load_checkpoint(path, allow_pickle=allow_pickle, mmap=True)
    with state_refused(path):
        there = weights_in(content)
        if resume and not {"global_step", "callbacks"} <= set(content):
            raise KeyError("global_step")
    if missing := [name for name, _ in system.named_parameters() if name not in there]:
        raise does_not_fit(path, [f"it has no {name}" for name in missing[:3]])


def device_of(options: TrainerConfig) -> torch.device:
    """The device that the trainer's options name."""
    if options.accelerator == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    numbers = options.devices if isinstance(options.devices, list) else [0]
    return torch.device("cuda", numbers[0])


def check_gradients(module: torch.nn.Module, step: int) -> None:
    """Refuse gradients that are not finite, before they reach the weights.

    Raises:
        TrainingError: naming the step and the parameter.
    """
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    if not gradients or torch.isfinite(torch.stack(torch._foreach_norm(gradients))).all():
        return
    for name, parameter in module.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            raise TrainingError(f"step {step}: the gradient of {name} is not finite.")
