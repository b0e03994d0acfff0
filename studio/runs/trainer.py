"""Lightning's trainer as this program sets it up, its logs, and what libraries may say."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from studio.config import ExperimentConfig
from studio.errors import ConfigError
from studio.progress import first_process
from studio.runs.csv_log import kept_log
from studio.runs.distributed import limit_waiting, shared_out, without_apple
from studio.runs.folder import RunFolder

if TYPE_CHECKING:
    import pytorch_lightning as L

PRECISIONS = {
    "32-true": "32-true",
    "32": "32-true",
    "bf16-mixed": "bf16-mixed",
    "bf16": "bf16-mixed",
    "16-mixed": "16-mixed",
    "16": "16-mixed",
}
"""Arithmetics, by all their names."""
log = logging.getLogger(__name__)
CHATTY = ("pytorch_lightning", "lightning", "lightning_fabric", "lightning.pytorch")


def make_trainer(cfg: ExperimentConfig, run: RunFolder, system: Any) -> L.Trainer:
    """Lightning's trainer with this program's callbacks, loggers and checkpoint access.

    Args:
        cfg: the whole config; its `trainer` part is used.
        run: where checkpoints, logs and pictures go.
        system: may bring callbacks of its own.
    """
    import pytorch_lightning as L
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    from studio.runs.callbacks.checkpointing import Checkpointing
    from studio.runs.callbacks.nan_guard import NanGuard
    from studio.runs.callbacks.preview import Preview
    from studio.runs.callbacks.progress import TrainingProgress
    from studio.runs.callbacks.rng import RngState
    from studio.runs.callbacks.snapshot import Snapshot
    from studio.runs.checkpoint_io import PlainCheckpointIO

    options = without_apple(shared_out(cfg.trainer))
    if options.max_steps is None:
        raise ConfigError(
            f"trainer.max_steps is null with system_type '{cfg.system_type}'.",
            allowed="1 or more; only fits to pictures know what suits them",
        )
    callbacks: list[Any] = [Snapshot(run), NanGuard(), *system.callbacks(), RngState()]
    if options.preview_every:
        callbacks.append(Preview(run, options.preview_every))
    callbacks += [
        TrainingProgress(run),
        Checkpointing(run, options.checkpoint_every, options.keep_checkpoints),
    ]
    try:
        trainer = L.Trainer(
            max_steps=options.max_steps,
            max_epochs=-1,
            accelerator=options.accelerator,
            devices=options.devices,
            strategy=options.strategy,
            num_nodes=options.num_nodes,
            precision=options.precision,  # type: ignore[arg-type]
            deterministic=options.deterministic,
            accumulate_grad_batches=options.accumulate_grad_batches,
            log_every_n_steps=options.log_every_n_steps,
            val_check_interval=options.validate_every * options.accumulate_grad_batches or None,
            check_val_every_n_epoch=None if options.validate_every else 1,
            limit_val_batches=_validation_batches(cfg),
            num_sanity_val_steps=0,
            logger=False,  # made where the run folder is
            callbacks=callbacks,
            plugins=[PlainCheckpointIO(allow_pickle=cfg.allow_pickle)],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=True,
            inference_mode=False,  # surface normals are gradients, in validation, too
        )
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(
            f"trainer: {str(error).splitlines()[0]}",
            hint="`python launch.py --doctor` tells what this machine has",
        ) from error
    limit_waiting(trainer, options.timeout_minutes)
    asked = PRECISIONS.get(options.precision, options.precision)
    if trainer.precision != asked and first_process():
        print(f"trainer.precision: {asked} needs a GPU; {trainer.precision} takes its place here")
    _warn_of_slow_halves(trainer)
    return trainer


def _warn_of_slow_halves(trainer: L.Trainer) -> None:
    from studio.guidance.precision import multiplies_bfloat16

    on_processor = trainer.strategy.root_device.type == "cpu"
    if trainer.precision == "bf16-mixed" and on_processor and not multiplies_bfloat16():
        log.warning(
            "trainer.precision: this processor does not multiply bfloat16; a step may take a "
            "hundred times as long as with 32-true"
        )


def check_precision(precision: str, system_type: str, can: Collection[str]) -> None:
    """Refuse an arithmetic that the system does not compute in, before anything is read.

    Args:
        precision: one of the names of an arithmetic.
        system_type: the system.
        can: full names of those that it computes in.

    Raises:
        ConfigError: naming these.
    """
    if PRECISIONS[precision] not in can:
        raise ConfigError(
            f"trainer.precision is '{precision}', which system '{system_type}' cannot compute in.",
            allowed=", ".join(can),
        )


def _validation_batches(cfg: ExperimentConfig) -> int | float:
    return cfg.trainer.validate_batches or 1.0


def make_loggers(cfg: ExperimentConfig, run: RunFolder) -> list[Any]:
    """A CSV log always, others where asked for; the folder exists."""
    from pytorch_lightning.loggers import CSVLogger

    class KeptLog(CSVLogger):
        """Gives the log of an earlier run another name, where Lightning would delete it."""

        @property
        def experiment(self) -> Any:
            if self._experiment is None and first_process():
                kept_log(run.logs)
            return super().experiment

    every = cfg.trainer.log_every_n_steps
    log_of_run = KeptLog(run.logs, "", "", flush_logs_every_n_steps=every)
    return [log_of_run, *further_loggers(cfg, run)]


def further_loggers(cfg: ExperimentConfig, run: RunFolder) -> list[Any]:
    """The log of TensorBoard or Weights & Biases, where one is asked for."""
    from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger

    if cfg.trainer.logger == "tensorboard":
        return [TensorBoardLogger(run.logs, name="", version="tensorboard")]
    if cfg.trainer.logger == "wandb":
        return [WandbLogger(name=cfg.tag, project=cfg.name, save_dir=run.logs)]
    return []


def quiet_libraries() -> None:
    """Silence what libraries say about themselves; errors still show."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("pytorch_lightning", "lightning_fabric", "torch", "diffusers", "transformers"):
        warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")


class _Lines(logging.StreamHandler[Any]):
    """Writes to what standard output is now: a moving line on a terminal steps aside for others."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


def show_own_messages(*, verbose: bool = False) -> None:
    """Print what studio's modules log: the backends that were chosen, a warning, ...

    Of several processes only the first one does.

    Args:
        verbose: with details, such as the choice of every single backend.
    """
    own = logging.getLogger("studio")
    level = logging.DEBUG if verbose else logging.INFO
    own.setLevel(level if first_process() else logging.ERROR)
    if not own.handlers:
        handler = _Lines(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        own.addHandler(handler)
        own.propagate = False
