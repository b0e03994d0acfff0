"""One experiment from a checked config to its results."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.app.console import say_found, say_stopped
from studio.config import ExperimentConfig
from studio.errors import ConfigError, Terminated, WeightsError
from studio.plugins.discovery import find
from studio.plugins.options import build
from studio.progress import StageProgress, first_process
from studio.runs.choosing import choose_run, resumed, start_checkpoint
from studio.runs.config_changes import say_changes
from studio.runs.distributed import check_alone, check_devices
from studio.runs.hashing import hash_of
from studio.runs.trainer import check_precision, quiet_libraries, show_own_messages

if TYPE_CHECKING:
    from studio.runs.fitting import FitInFolder
    from studio.runs.lightning import LightningTraining
    from studio.systems.contract import BaseSystem

    Training = FitInFolder | LightningTraining


class Experiment:
    """Carries out verbs; nothing is written before config, data and weights have been checked.

    Args:
        cfg: the checked config.
        verbs: what to do: any of train, validate, test, export, done in this order.
        command: the command line, for cmd.txt and for the hint how to resume.
        verbose: let libraries talk.

    Attributes:
        resume: the checkpoint to go on from, if there is one.
    """

    def __init__(
        self,
        cfg: ExperimentConfig,
        verbs: Sequence[str],
        command: Sequence[str],
        *,
        verbose: bool = False,
    ) -> None:
        self.cfg, self.verbs, self.command = cfg, verbs, list(command)
        resume = resumed(cfg, verbs)
        self.resume = resume if resume is not None and resume.is_file() else None
        self.run_folder = choose_run(
            cfg.name,
            cfg.tag,
            exp_root_dir=cfg.exp_root_dir,
            use_timestamp=cfg.use_timestamp,
            resume=resume,
            allow_pickle=cfg.allow_pickle,
        )
        show_own_messages(verbose=verbose)
        if not verbose:
            quiet_libraries()

    def run(self) -> int:
        """Do what the verbs ask for.

        Returns:
            The exit code.
        """
        import torch

        from studio.runs.checkpoints import load_checkpoint
        from studio.runs.random_states import seed_everything

        cfg = self.cfg
        check_devices(cfg.trainer)
        if cfg.trainer.threads:
            torch.set_num_threads(cfg.trainer.threads)
        torch.set_float32_matmul_precision("high" if cfg.trainer.tf32 else "highest")
        last = self.run_folder.last_checkpoint
        start = start_checkpoint(cfg, self.verbs, self.resume, last)
        if start is not None:
            load_checkpoint(start, allow_pickle=cfg.allow_pickle, mmap=True, whole=True)
        seed_everything(cfg.seed)
        with self._alone():
            return self._run(start)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other runs out of a folder that exists already; `create` locks a new one."""
        try:
            if first_process():
                self.run_folder.lock()
            yield
        finally:
            self.run_folder.unlock()

    def _run(self, start: Path | None) -> int:
        cfg, run, verbs = self.cfg, self.run_folder, self.verbs
        data, system = self._build()
        if "export" in verbs and first_process():
            system.check_export()
        training = self._training(system, start)
        if training.is_first:
            self._say_start()
            run.create()
            run.write_command(self.command)
            run.write_config(cfg)
        try:
            training.open_logs()
            system.to(training.device)
            system.prepare(data)
            if "train" in verbs:
                if cfg.checkpoint:
                    training.restore(Path(cfg.checkpoint))
                if (code := self._fit(training, system)) != 0:
                    return code
            elif start is not None:
                training.restore(start)
        except (ConfigError, WeightsError):  # the folder's results are of the config before
            if training.is_first and self.resume is not None:
                run.put_back_config()
            raise
        return self._finish(training, system)

    # --- before anything is written -------------------------------------------------------------

    def _build(self) -> tuple[Any, Any]:
        from studio.systems.contract import check_data

        cfg = self.cfg
        cls: type[BaseSystem] = find("system", cfg.system_type)
        check_precision(cfg.trainer.precision, cfg.system_type, cls.precisions)
        if cls.one_process:
            check_alone(cfg.trainer)
        check_data(cfg.system_type, cls, cfg.data_type, find("data", cfg.data_type))
        data = build("data", cfg.data_type, cfg.data, key="data")
        data.check()
        system = build(
            "system", cfg.system_type, cfg.system, key="system", parts={"run": self.run_folder}
        )
        system.experiment_seed = cfg.seed
        system.check(data)
        return data, system

    def _training(self, system: Any, start: Path | None) -> Training:
        """What trains the system; Lightning is imported only where it does."""
        cfg, run = self.cfg, self.run_folder
        from studio.systems.scene import SceneSystem

        if isinstance(system, SceneSystem):
            from studio.runs.fitting import FitInFolder, check_fits

            if start is not None:
                how = {"allow_pickle": cfg.allow_pickle, "resume": self.resume is not None}
                check_fits(start, system, **how)
            return FitInFolder(cfg, run, system)
        from studio.runs.lightning import LightningTraining

        return LightningTraining(cfg, run, system)

    def _say_start(self) -> None:
        """Say what is gone on from, where that was asked for."""
        if self.resume is not None:
            say_changes(self.resume, self.cfg)
        elif self.cfg.resume:
            there = self.run_folder.finished_stages()
            kept = f"; what is finished there stays: {', '.join(there)}" if there else ""
            begins = f"training begins at step 0 in {self.run_folder.root}"
            print(f"resume: there is no checkpoint yet, {begins}{kept}")

    # --- work -----------------------------------------------------------------------------------

    def _fit(self, training: Training, system: Any) -> int:
        """Train, unless the run folder holds the result of exactly this training already."""
        from studio.runs.signals import Interrupted

        run = self.run_folder
        key = system.train_key()
        if key:
            cfg = self.cfg
            training.fitted = key
            key = hash_of(
                key, cfg.seed, cfg.checkpoint, cfg.trainer.max_steps, cfg.trainer.precision
            )
        if key and self.resume is None and run.stage_current("train", key):
            print(f"training: already done, {run.last_checkpoint}")
            training.restore(run.last_checkpoint)
            return 0
        if key and self.resume is not None:
            self._check_fitted(system)
        begun, wanted = self._steps()
        if self.resume is not None and wanted and begun >= wanted:
            if training.is_first:
                print(f"training: nothing to do, {self.resume} is at step {begun} of {wanted}")
            training.restore(self.resume)
            return 0
        if training.is_first:
            run.stage_begins("train")
            run.forget_measured(begun)
        started = time.monotonic()
        try:
            training.fit(self.resume)
        except Interrupted as stop:
            return self._say_resume(stop.signal)
        except KeyboardInterrupt:
            return self._say_resume(signal.SIGINT)
        except Terminated:
            return self._say_resume(signal.SIGTERM)
        if training.is_first:
            run.write_metrics({"train_seconds": round(time.monotonic() - started, 2)})
            if key and run.last_checkpoint.is_file():
                run.stage_done("train", key, [run.last_checkpoint])
        return 0

    def _resumed(self) -> dict[str, Any]:
        """What the checkpoint to go on from holds."""
        from studio.runs.checkpoints import load_checkpoint

        assert self.resume is not None
        return load_checkpoint(self.resume, allow_pickle=self.cfg.allow_pickle, mmap=True)

    def _check_fitted(self, system: Any) -> None:
        """Refuse to go on from weights that were fitted to something else."""
        from studio.runs.restoring import state_refused

        assert self.resume is not None
        with state_refused(self.resume):
            fitted = self._resumed().get("callbacks", {}).get("Checkpointing", {}).get("fitted")
        if fitted and fitted != system.train_key():
            raise ConfigError(
                f"{self.resume} was fitted to other views, or with other options or code.",
                hint="start without resume=, or from these weights: "
                f"checkpoint={self.resume} instead",
            )

    def _steps(self) -> tuple[int, int]:
        """Steps that are made already, and steps in all; 0: not known yet."""
        from studio.runs.restoring import state_refused

        most = self.cfg.trainer.max_steps or 0
        if self.resume is None:
            return 0, most
        with state_refused(self.resume):
            content = self._resumed()
            planned = content.get("fitter", {})
            return int(content.get("global_step", 0)), most or int(planned.get("max_steps", 0))

    def _say_resume(self, number: int) -> int:
        last = self.run_folder.last_checkpoint
        if not first_process():
            return 0  # the first process tells; another code would have it killed before it can
        words = " ".join(word for word in self.command if not word.startswith("resume="))
        if last.is_file():
            say_stopped(f"stopped. To go on: {words} resume={last}")
        else:
            say_stopped(
                "stopped before the first checkpoint. To begin at step 0, with what else is "
                f"finished: {words} resume={self.run_folder.root}"
            )
        return 128 + number

    def _finish(self, training: Training, system: Any) -> int:
        run = self.run_folder
        for verb in (verb for verb in ("validate", "test") if verb in self.verbs):
            with StageProgress("measuring"):
                results = list(training.measure(verb))
            if training.is_first:
                self._say_measured(verb, results, training.weights[1])
        exported: Path | None = None
        if "export" in self.verbs and training.is_first:
            import torch

            system.to(training.device)
            system.eval()
            with training.final_weights(), torch.inference_mode(False):
                exported = system.export()
        if training.is_first:
            say_found(system.summary, system.warnings, system.alarms)
            print(f"run folder: {run.root}")
            print(exported if exported is not None else training.weights[0])
        return 0

    def _say_measured(self, verb: str, results: list[Any], step: int) -> None:
        """Print figures of the weights of a step, and note them for that step."""
        found = {name: value for values in results for name, value in values.items()}
        if not found:
            print(f"{verb}: there is nothing to measure on, no views are held back")
            return
        self.run_folder.write_measured(verb, step, found)
        for name, value in sorted(found.items()):
            print(f"{name}: {value:.5g}")
