"""Processes that train together: as many as there are devices; none waits forever."""

from __future__ import annotations

import os
import re
import signal
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from studio.config import TrainerConfig
from studio.errors import ConfigError, TrainingError
from studio.progress import first_process

if TYPE_CHECKING:
    import pytorch_lightning as L

_WAITED = re.compile(r"tim(ed|e) ?out", re.IGNORECASE)
_GONE = re.compile(r"closed by peer|connection (reset|closed|refused)|broken pipe", re.IGNORECASE)
_NO_FLOAT64 = "an Apple GPU has no float64, which cameras are computed in"
_DOCTOR = "`python launch.py --doctor` tells what this machine has"
DEV = Path("/dev")
CARDS = ("nvidia[0-9]*", "nvhost*", "nvgpu*", "nvmap", "dxg", "kfd")
"""Devices of GPUs that torch calls "cuda": NVIDIA's, its boards', those of WSL, AMD's."""
_STARTERS = ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS")


def without_apple(options: TrainerConfig) -> TrainerConfig:
    """Return the options with the processor in place of an Apple GPU, which has no float64.

    Cameras, masks and noise schedules are worked out in float64 beside the networks. Says so.

    Raises:
        ConfigError: if an Apple GPU is asked for: "mps", or "gpu" where there is no other.
    """
    import torch

    if options.accelerator == "mps":
        raise _no_apple(options.accelerator)
    if options.accelerator not in ("auto", "gpu") or torch.cuda.is_available():
        return options
    if not torch.backends.mps.is_available():
        return options
    if options.accelerator == "gpu":
        raise _no_apple(options.accelerator)
    if first_process():
        print(f"trainer.accelerator: auto is the processor here: {_NO_FLOAT64}")
    return replace(options, accelerator="cpu")


def _no_apple(accelerator: str) -> ConfigError:
    return ConfigError(
        f"trainer.accelerator is '{accelerator}': {_NO_FLOAT64}.",
        allowed="auto, cpu; gpu for an NVIDIA GPU",
    )


def may_have_cuda() -> bool:
    """Whether torch may find a GPU that it calls "cuda"; False where it cannot, without asking it.

    On Linux the drivers show such cards as devices.
    """
    if sys.platform == "darwin":
        return False
    return sys.platform != "linux" or any(found for kind in CARDS for found in DEV.glob(kind))


def check_accelerator(accelerator: str, *, cuda: bool, apple: bool = False) -> None:
    """Refuse an accelerator that is not here.

    Args:
        accelerator: as the trainer's options name it.
        cuda: whether torch has a GPU that it calls "cuda".
        apple: whether it has an Apple GPU.

    Raises:
        ConfigError: saying what there is.
    """
    if accelerator == "gpu" and apple and not cuda:
        raise _no_apple(accelerator)
    here = {"auto": True, "cpu": True, "gpu": cuda, "cuda": cuda}
    if not here[accelerator]:
        raise ConfigError(
            f"trainer.accelerator is '{accelerator}', and there is none here.",
            allowed=", ".join(name for name, there in here.items() if there),
            hint=_DOCTOR,
        )


def check_devices(options: TrainerConfig) -> None:
    """Refuse devices that are not here, before data and weights are read.

    Raises:
        ConfigError: saying which.
    """
    import torch

    cuda = torch.cuda.is_available()
    apple = torch.backends.mps.is_available()
    check_accelerator(options.accelerator, cuda=cuda, apple=apple)
    asked, gpus = options.devices, torch.cuda.device_count() if cuda else 0
    if not gpus or options.accelerator == "cpu":
        return  # processes on the processor are as many as one likes
    numbers = asked.split(",") if isinstance(asked, str) and asked != "auto" else asked
    if isinstance(numbers, list):
        beyond = max(map(int, numbers)) >= gpus
    else:  # `shared_out` brings a number down for `accelerator: auto`
        beyond = isinstance(asked, int) and asked > gpus and options.accelerator != "auto"
    if beyond:
        raise ConfigError(f"trainer.devices is {asked}; GPUs here: {gpus}.", hint=_DOCTOR)


def check_alone(options: TrainerConfig) -> None:
    """Refuse several devices, machines or accumulated batches, which a fit to views has not.

    Raises:
        ConfigError: naming the option.
    """
    devices = options.devices
    count = len(devices.split(",")) if isinstance(devices, str) and "," in devices else devices
    several = {
        "devices": isinstance(count, int) and count > 1 or isinstance(count, list) and count[1:],
        "num_nodes": options.num_nodes > 1,
        "accumulate_grad_batches": options.accumulate_grad_batches > 1,
    }
    for name in (name for name, wrong in several.items() if wrong):
        raise ConfigError(
            f"trainer.{name} is {getattr(options, name)}: a fit to views runs in one process.",
            allowed="1",
            hint="`studio batch` works on many objects side by side",
        )


def shared_out(options: TrainerConfig) -> TrainerConfig:
    """Return the options with the devices that are here, where a recipe asks for more of them.

    The joint batch of a step stays what it is: each device adds up the batches of several. Only for
    `accelerator: auto`; who names one, or starts the processes, gets what is asked for.

    Args:
        options: of the trainer.
    """
    import torch

    asked = options.devices
    if options.accelerator != "auto" or type(asked) is not int or asked <= 1:
        return options
    if any(name in os.environ for name in _STARTERS):
        return options
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    used = next(n for n in range(min(asked, max(gpus, 1)), 0, -1) if asked % n == 0)
    if used == asked:
        return options
    batches = options.accumulate_grad_batches * asked // used
    if first_process():
        here = f"{used} of {gpus} GPUs" if gpus else "the CPU"
        print(
            f"trainer.devices: {asked} are asked for; {here} adds up {batches} batches a step "
            f"instead (trainer.accelerator=... insists on {asked})"
        )
    strategy = options.strategy if used > 1 else "auto"
    return replace(options, devices=used, accumulate_grad_batches=batches, strategy=strategy)


def limit_waiting(trainer: L.Trainer, minutes: float) -> None:
    """Let no process wait longer than some minutes for the others' gradients."""
    from pytorch_lightning.strategies import DDPStrategy

    if isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy._timeout = timedelta(minutes=minutes)


def without_company(error: Exception, trainer: L.Trainer, minutes: float) -> TrainingError | None:
    """What an error of one of several processes says about another one; None if nothing."""
    if trainer.world_size == 1 or not isinstance(error, RuntimeError):
        return None
    rank, count, said = trainer.global_rank, trainer.world_size, str(error)
    if _WAITED.search(said):
        return TrainingError(
            f"process {rank} of {count} (from 0) has waited {minutes:g} minutes for the others: "
            "one of them hangs, so all end.",
            hint="trainer.timeout_minutes=... allows more; resume=last goes on from the last "
            "checkpoint",
        )
    if _GONE.search(said):
        return TrainingError(
            f"process {rank} of {count} (from 0) ends, since another one has ended.",
            hint="that one's message stands above, or the system killed it, for its memory "
            "perhaps; resume=last goes on from the last checkpoint",
        )
    return None


def end_others(trainer: L.Trainer, why: TrainingError | None) -> None:
    """End the processes that Lightning started and that would wait for this one, or hang.

    Where torchrun or a cluster started them, it ends them.

    Args:
        trainer: of this process.
        why: what is known of another process, if anything.
    """
    kill = getattr(signal, "SIGKILL", signal.SIGTERM)
    if trainer.strategy.launcher is not None:
        trainer.strategy.launcher.kill(kill)
    environment = getattr(trainer.strategy, "cluster_environment", None)
    outside = environment is None or environment.creates_processes_externally
    if why is not None and not outside and trainer.local_rank > 0:
        print(f"{type(why).__name__}: {why}", file=sys.stderr, flush=True)
        os.kill(os.getppid(), kill)  # the first process, which may be the one that hangs
        os._exit(2)
