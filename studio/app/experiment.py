"""One experiment from a checked config to its results."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.app.console import own_signals, say_stopped
from studio.config import ExperimentConfig, save_experiment
from studio.errors import ConfigError, Terminated
from studio.plugins.discovery import find
from studio.plugins.options import build
from studio.progress import StageProgress, first_process
from studio.runs.config_changes import say_changes
from studio.runs.distributed import check_devices, end_others, without_company
from studio.runs.folder import choose_run, find_resume
from studio.runs.hashing import hash_of
from studio.runs.trainer import (
    check_precision,
    has_begun,
    make_loggers,
    make_trainer,
    mean_weights,
    quiet_libraries,
    restore,
    show_own_messages,
    state_refused,
    weights_errors,
)

if TYPE_CHECKING:
    import pytorch_lightning as L

    from studio.systems.base import System


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
        show_own_messages(verbose=verbose)
        if not verbose:
            quiet_libraries()

    def run(self, verbs: Sequence[str]) -> int:
        """Do what the verbs ask for, in the order train, validate, test, export.

        Returns:
            The exit code.
        """
        import torch
        from pytorch_lightning import seed_everything

        cfg = self.cfg
        check_devices(cfg.trainer)
        if cfg.trainer.threads:
            torch.set_num_threads(cfg.trainer.threads)
        torch.set_float32_matmul_precision("high" if cfg.trainer.tf32 else "highest")
        start = self._start_checkpoint(verbs)
        self._check_checkpoint(start)
        seed_everything(cfg.seed, workers=True, verbose=False)
        with self._alone():
            return self._run(verbs, start)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other runs out of a folder that exists already; `create` locks a new one."""
        try:
            if first_process():
                self.run_folder.lock()
            yield
        finally:
            self.run_folder.unlock()

    def _run(self, verbs: Sequence[str], start: Path | None) -> int:
        cfg, run = self.cfg, self.run_folder
        data, system = self._build()
        if "export" in verbs and first_process():
            system.check_export()
        trainer = make_trainer(cfg, run, system)
        if trainer.is_global_zero:
            if self.resume is not None:
                say_changes(self.resume, cfg)
            run.create()
            self._write_provenance()
        trainer.loggers = make_loggers(cfg, run)
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
            from studio.runs.checkpoints import load_checkpoint

            load_checkpoint(path, allow_pickle=self.cfg.allow_pickle, mmap=True, whole=True)

    def _build(self) -> tuple[Any, Any]:
        from studio.systems.base import check_data

        cfg = self.cfg
        cls: type[System] = find("system", cfg.system_type)
        check_precision(cfg.trainer.precision, cfg.system_type, cls.precisions)
        check_data(cfg.system_type, cls, cfg.data_type, find("data", cfg.data_type))
        data = build("data", cfg.data_type, cfg.data, key="data")
        data.check()
        system = build(
            "system", cfg.system_type, cfg.system, key="system", parts={"run": self.run_folder}
        )
        system.check(data)
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
        from studio.runs.callbacks.checkpointing import Checkpointing, Interrupted

        run = self.run_folder
        key = system.train_key()
        if key:
            cfg = self.cfg
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, Checkpointing):
                    callback.fitted = key
            key = hash_of(
                key, cfg.seed, cfg.checkpoint, cfg.trainer.max_steps, cfg.trainer.precision
            )
        if key and self.resume is None and run.stage_current("train", key):
            print(f"training: already done, {run.last_checkpoint}")
            restore(system, trainer, run.last_checkpoint, allow_pickle=self.cfg.allow_pickle)
            return 0
        if key and self.resume is not None:
            self._check_fitted(system)
        if self.resume is not None and self._is_past_the_end(trainer):
            restore(system, trainer, self.resume, allow_pickle=self.cfg.allow_pickle)
            return 0
        if trainer.is_global_zero:
            run.stage_begins("train")
        started = time.monotonic()
        try:
            with weights_errors(self.resume), own_signals():
                trainer.fit(system, ckpt_path=self.resume)
        except Interrupted as stop:
            return self._say_resume(stop.signal)
        except KeyboardInterrupt:
            return self._say_resume(signal.SIGINT)
        except Terminated:
            return self._say_resume(signal.SIGTERM)
        except Exception as error:
            lost = without_company(error, trainer, self.cfg.trainer.timeout_minutes)
            end_others(trainer, lost)
            if lost is not None:
                raise lost from error
            if self.resume is not None and not has_begun(trainer):
                with state_refused(self.resume):
                    raise
            raise
        if trainer.is_global_zero:
            run.write_metrics({"train_seconds": round(time.monotonic() - started, 2)})
            if key and run.last_checkpoint.is_file():
                run.stage_done("train", key, [run.last_checkpoint])
        return 0

    def _check_fitted(self, system: Any) -> None:
        """Refuse to go on from weights that were fitted to something else."""
        from studio.runs.checkpoints import load_checkpoint

        assert self.resume is not None
        content = load_checkpoint(self.resume, allow_pickle=self.cfg.allow_pickle, mmap=True)
        with state_refused(self.resume):
            fitted = content.get("callbacks", {}).get("Checkpointing", {}).get("fitted")
        if fitted and fitted != system.train_key():
            raise ConfigError(
                f"{self.resume} was fitted to other views, or with other options or code.",
                hint="start without resume=, or from these weights: "
                f"checkpoint={self.resume} instead",
            )

    def _is_past_the_end(self, trainer: L.Trainer) -> bool:
        """Whether the checkpoint to go on from has all the steps already; says so."""
        from studio.runs.checkpoints import load_checkpoint

        assert self.resume is not None
        content = load_checkpoint(self.resume, allow_pickle=self.cfg.allow_pickle, mmap=True)
        step, wanted = int(content.get("global_step", 0)), self.cfg.trainer.max_steps
        if step < wanted:
            return False
        if trainer.is_global_zero:
            print(f"training: nothing to do, {self.resume} is at step {step} of {wanted}")
        return True

    def _say_resume(self, number: int) -> int:
        last = self.run_folder.last_checkpoint
        if not first_process():
            return 0  # the first process tells; another code would have it killed before it can
        if last.is_file():
            words = [w for w in self.command if not w.startswith("resume=")]
            say_stopped(f"stopped. To go on: {' '.join(words)} resume={last}")
        else:
            say_stopped("stopped before the first checkpoint.")
        return 128 + number

    def _finish(self, trainer: L.Trainer, system: Any, verbs: Sequence[str]) -> int:
        run = self.run_folder
        for verb in ("validate", "test"):
            if verb in verbs:
                measure = trainer.validate if verb == "validate" else trainer.test
                with StageProgress("measuring"), own_signals():
                    results = measure(system, verbose=False)
                for values in results if trainer.is_global_zero else ():
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
            for line in system.summary:
                print(line)
            for line in system.warnings:
                print(f"WARNING: {line}")
            for line in system.alarms:
                print(f"\n*** THIS RESULT CANNOT BE RIGHT ***\n{line}\n")
            print(f"run folder: {run.root}")
            print(exported if exported is not None else run.last_checkpoint)
        return 0
