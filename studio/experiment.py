"""One experiment from a checked config to its results."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.config import ExperimentConfig, save_experiment
from studio.errors import ConfigError, WeightsError
from studio.registry import build
from studio.run import RunFolder, choose_run, find_resume

if TYPE_CHECKING:
    import pytorch_lightning as L

CHATTY = ("pytorch_lightning", "lightning", "lightning_fabric", "lightning.pytorch")


class Experiment:
    """Carries out verbs; nothing is written before config, data and weights have been checked.

    Args:
        cfg: the checked config.
        command: the command line, for cmd.txt and for the hint how to resume.
        verbose: let libraries talk.
    """

    def __init__(
        self, cfg: ExperimentConfig, command: Sequence[str], *, verbose: bool = False
    ) -> None:
        self.cfg = cfg
        self.command = list(command)
        self.resume = self._find_resume()
        self.run_folder = choose_run(
            cfg.name,
            cfg.tag,
            exp_root_dir=cfg.exp_root_dir,
            use_timestamp=cfg.use_timestamp,
            resume=self.resume,
            allow_pickle=cfg.allow_pickle,
        )
        if not verbose:
            quiet_libraries()

    def run(self, verbs: Sequence[str]) -> int:
        """Do what the verbs ask for, in the order train, validate, test, export.

        Returns:
            The exit code.
        """
        import torch
        from pytorch_lightning import seed_everything

        cfg, run = self.cfg, self.run_folder
        if cfg.trainer.threads:
            torch.set_num_threads(cfg.trainer.threads)
        start = self._start_checkpoint(verbs)
        self._check_checkpoint(start)
        seed_everything(cfg.seed, workers=True, verbose=False)
        data, system = self._build()
        trainer = make_trainer(cfg, run, system)
        run.create()
        if trainer.is_global_zero:
            self._write_provenance()
        system.to(trainer.strategy.root_device)
        system.prepare(data)
        if "train" in verbs:
            if cfg.checkpoint:
                restore(system, trainer, Path(cfg.checkpoint), allow_pickle=cfg.allow_pickle)
            if (code := self._fit(trainer, system)) != 0:
                return code
        elif start is not None:
            restore(system, trainer, start, allow_pickle=cfg.allow_pickle)
        return self._finish(trainer, system, verbs)

    # --- before anything is written -------------------------------------------------------------

    def _find_resume(self) -> Path | None:
        cfg = self.cfg
        if not cfg.resume:
            return None
        return find_resume(cfg.resume, cfg.name, cfg.tag, cfg.exp_root_dir, cfg.use_timestamp)

    def _start_checkpoint(self, verbs: Sequence[str]) -> Path | None:
        """The checkpoint that is used; without training there has to be one."""
        if self.resume is not None:
            return self.resume
        if self.cfg.checkpoint:
            return Path(self.cfg.checkpoint)
        if "train" in verbs:
            return None
        last = self.run_folder.last_checkpoint
        if last.is_file():
            return last
        raise ConfigError(
            f"--{verbs[0]} needs something trained.",
            hint=f"add --train, or resume=last or resume=<a .ckpt file>; {last} does not exist",
        )

    def _check_checkpoint(self, path: Path | None) -> None:
        if path is not None:
            from studio.callbacks.checkpointing import load_checkpoint

            load_checkpoint(path, allow_pickle=self.cfg.allow_pickle, mmap=True)

    def _build(self) -> tuple[Any, Any]:
        cfg = self.cfg
        data = build("data", cfg.data_type, cfg.data, key="data")
        if hasattr(data, "check"):
            data.check()
        system = build("system", cfg.system_type, cfg.system, key="system", run=self.run_folder)
        if hasattr(system, "check"):
            system.check()
        return data, system

    def _write_provenance(self) -> None:
        run = self.run_folder
        run.write_command(self.command)
        target = run.configs / "config.yaml"
        if target.is_file():
            earlier = len(list(run.configs.glob("config-*.yaml")))
            target.replace(run.configs / f"config-{earlier + 1}.yaml")
        save_experiment(self.cfg, target)

    # --- work -----------------------------------------------------------------------------------

    def _fit(self, trainer: L.Trainer, system: Any) -> int:
        """Train, unless the run folder holds the result of exactly this training already."""
        from studio.callbacks.checkpointing import Interrupted

        run = self.run_folder
        key = system.train_key() if hasattr(system, "train_key") else None
        if key and self.resume is None and run.stage_current("train", key):
            print(f"training: already done, {run.last_checkpoint}")
            restore(system, trainer, run.last_checkpoint, allow_pickle=self.cfg.allow_pickle)
            return 0
        started = time.monotonic()
        try:
            with _weights_errors(self.resume):
                trainer.fit(system, ckpt_path=self.resume)
        except Interrupted as stop:
            return self._say_resume(stop.signal)
        except SystemExit:
            if str(trainer.state.status) != "interrupted":
                raise
            return self._say_resume(signal.SIGINT)
        if trainer.is_global_zero:
            run.write_metrics({"train_seconds": round(time.monotonic() - started, 2)})
            if key and run.last_checkpoint.is_file():
                run.stage_done("train", key, [run.last_checkpoint])
        return 0

    def _say_resume(self, number: int) -> int:
        last = self.run_folder.last_checkpoint
        if last.is_file():
            words = [w for w in self.command if not w.startswith("resume=")]
            print(f"stopped. To go on: python {' '.join(words)} resume={last}", file=sys.stderr)
        else:
            print("stopped before the first checkpoint.", file=sys.stderr)
        return 128 + number

    def _finish(self, trainer: L.Trainer, system: Any, verbs: Sequence[str]) -> int:
        run = self.run_folder
        for verb in ("validate", "test"):
            if verb in verbs:
                measure = trainer.validate if verb == "validate" else trainer.test
                results = measure(system, verbose=False)
                for values in results:
                    run.write_metrics(values)
                    for name, value in sorted(values.items()):
                        print(f"{name}: {value:.5g}")
        exported: Path | None = None
        if "export" in verbs and trainer.is_global_zero:
            import torch

            system.to(trainer.strategy.root_device)
            system.eval()
            with mean_weights(trainer, system), torch.inference_mode(False):
                exported = system.export()
        if trainer.is_global_zero:
            print(f"run folder: {run.root}")
            print(exported if exported is not None else run.last_checkpoint)
        return 0


# --- pieces ---------------------------------------------------------------------------------------


def make_trainer(cfg: ExperimentConfig, run: RunFolder, system: Any) -> L.Trainer:
    """Lightning's trainer with this program's callbacks, loggers and checkpoint access.

    Args:
        cfg: the whole config; its `trainer` part is used.
        run: where checkpoints, logs and pictures go.
        system: may bring callbacks of its own.
    """
    import pytorch_lightning as L
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    from studio.callbacks.checkpointing import Checkpointing, PlainCheckpointIO
    from studio.callbacks.nan_guard import NanGuard
    from studio.callbacks.preview import Preview
    from studio.callbacks.progress import TrainingProgress
    from studio.callbacks.rng import RngState
    from studio.callbacks.snapshot import Snapshot

    options = cfg.trainer
    callbacks: list[Any] = [Snapshot(run), NanGuard(), *system.callbacks(), RngState()]
    if options.preview_every and hasattr(system, "validation_pictures"):
        callbacks.append(Preview(run, options.preview_every))
    callbacks += [
        TrainingProgress(),
        Checkpointing(run, options.checkpoint_every, options.keep_checkpoints),
    ]
    try:
        return L.Trainer(
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
            val_check_interval=options.validate_every or None,
            check_val_every_n_epoch=None if options.validate_every else 1,
            limit_val_batches=_validation_batches(cfg),
            num_sanity_val_steps=0,
            logger=make_loggers(cfg, run),
            callbacks=callbacks,
            plugins=[PlainCheckpointIO(allow_pickle=cfg.allow_pickle)],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=True,
            inference_mode=False,  # surface normals are gradients, in validation, too
        )
    except (ValueError, MisconfigurationException) as error:
        raise ConfigError(
            f"trainer: {str(error).splitlines()[0]}",
            hint="`python launch.py --doctor` tells what this machine has",
        ) from error


def _validation_batches(cfg: ExperimentConfig) -> int | float:
    return cfg.trainer.validate_batches or 1.0


def make_loggers(cfg: ExperimentConfig, run: RunFolder) -> list[Any]:
    """A CSV log always, TensorBoard or Weights & Biases where asked for."""
    from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger

    options = cfg.trainer
    current = run.logs / "metrics.csv"
    if current.is_file():  # Lightning would delete the log of the run that is resumed
        earlier = len(list(run.logs.glob("metrics-*.csv")))
        current.replace(run.logs / f"metrics-{earlier + 1}.csv")
    loggers: list[Any] = [
        CSVLogger(run.logs, name="", version="", flush_logs_every_n_steps=options.log_every_n_steps)
    ]
    try:
        if options.logger == "tensorboard":
            loggers.append(TensorBoardLogger(run.logs, name="", version="tensorboard"))
        elif options.logger == "wandb":
            loggers.append(WandbLogger(name=cfg.tag, project=cfg.name, save_dir=run.logs))
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"trainer.logger is '{options.logger}', which is not installed.",
            hint=f"pip install {options.logger}, or trainer.logger=csv",
        ) from error
    return loggers


def restore(system: Any, trainer: L.Trainer, path: Path, *, allow_pickle: bool = False) -> None:
    """Load a checkpoint's weights, and the mean weights where it has them, for later use."""
    from studio.callbacks.checkpointing import load_checkpoint
    from studio.callbacks.ema import EMA

    content = load_checkpoint(path, allow_pickle=allow_pickle)
    if hasattr(system, "on_load_checkpoint"):
        system.on_load_checkpoint(content)
    with _weights_errors(path):
        system.load_state_dict(content["state_dict"])
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        state = content.get("callbacks", {}).get(callback.state_key)
        if isinstance(callback, EMA) and state:
            callback.load_state_dict(state)
            callback.updates = 0  # training from these weights starts a count of its own
    print(f"weights: {path} (step {content.get('global_step', '?')})")


class _weights_errors:  # noqa: N801 - reads as a statement
    """Turns torch's report of keys that do not fit into a `WeightsError`."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, RuntimeError) and "Error(s) in loading state_dict" in str(error):
            lines = [line.strip() for line in str(error).splitlines()[1:6]]
            raise WeightsError(
                f"{self.path} does not fit this config's model.",
                hint="use the config in the run folder's configs/, or other weights\n  "
                + "\n  ".join(line[:200] for line in lines),
            ) from error


def mean_weights(trainer: L.Trainer, system: Any) -> Any:
    """A context in which the mean weights stand in, if the system keeps them."""
    import contextlib

    from studio.callbacks.ema import EMA

    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EMA):
            return callback.applied(system)
    return contextlib.nullcontext()


def quiet_libraries() -> None:
    """Silence what libraries say about themselves; errors still show."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("pytorch_lightning", "lightning_fabric", "torch", "diffusers", "transformers"):
        warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")


