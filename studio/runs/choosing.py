"""Where a run writes and what it begins from: chosen from the config, refused without torch."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from studio.config import ExperimentConfig
from studio.errors import ConfigError
from studio.runs.checkpoint_files import check_end
from studio.runs.folder import COMMANDS, RUN_VARIABLE, RunFolder, world_size


def choose_run(
    name: str,
    tag: str,
    *,
    exp_root_dir: str = "outputs",
    use_timestamp: bool = True,
    resume: Path | None = None,
    allow_pickle: bool = False,
) -> RunFolder:
    """Decide once where this run writes; processes started by this one inherit the answer.

    Args:
        name: experiment name.
        tag: run name.
        exp_root_dir: folder of all experiments.
        use_timestamp: append @time, so that every run is new.
        resume: a checkpoint; if it lies in a run folder, that folder is continued.
        allow_pickle: see `RunFolder`.

    Raises:
        ConfigError: if several processes were started by hand and cannot agree on a time.
    """
    if told := os.environ.get(RUN_VARIABLE):
        return RunFolder(told, allow_pickle=allow_pickle)
    base, new = Path(exp_root_dir) / name, False
    if resume is not None and resume.parent.name == "ckpts":
        root = resume.parent.parent
    elif not use_timestamp:
        root = base / tag
    else:
        root, new = base / f"{tag}@{_agreed_time()}", True
    os.environ[RUN_VARIABLE] = str(root)
    return RunFolder(root, allow_pickle=allow_pickle, new=new)


def _agreed_time() -> str:
    """The start time, the same in every process of the job."""
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    world = world_size()
    if world == 1:
        return now
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        from torch.distributed import TCPStore

        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, is_master=False)
        if int(os.environ.get("RANK", 0)) == 0:
            store.set("studio_run_time", now)
        return str(store.get("studio_run_time").decode())
    if started := os.environ.get("SLURM_JOB_START_TIME"):
        return datetime.fromtimestamp(int(started)).strftime("%Y%m%d-%H%M%S")
    raise ConfigError(
        f"{world} processes were started, and they cannot agree on the time in the folder's name.",
        hint=f"give use_timestamp=false and a tag, or set {RUN_VARIABLE} for all of them",
    )


def find_resume(
    word: str,
    name: str,
    tag: str,
    exp_root_dir: str,
    use_timestamp: bool,
    *,
    training: bool = False,
) -> Path | None:
    """The checkpoint that `resume=` names.

    Args:
        word: a path, or "last": last.ckpt of the fixed run folder or of the newest timed one.
        name: experiment name.
        tag: run name.
        exp_root_dir: folder of all experiments.
        use_timestamp: whether run folders carry a time.
        training: whether it may be begun anew where there is nothing to go on from.

    Returns:
        The path. In training the file may be missing: of a run that was stopped before its first
        checkpoint. None where no run was begun, either.

    Raises:
        ConfigError: if there is no such checkpoint.
    """
    base = Path(exp_root_dir) / name
    if word != "last":
        path = Path(word)
        if path.is_dir():
            root = path.parent if path.name == "ckpts" else path
            path = _checkpoint_in(root)
            if training and (root / COMMANDS).is_file():
                return path
        if not path.is_file():
            raise ConfigError(
                f"resume is '{word}', but {path} does not exist.",
                allowed="a .ckpt file, a run folder, or last",
                hint=_newest_hint(base),
            )
        return path
    folders = glob.escape(tag) + ("@*" if use_timestamp else "")
    if found := _newest(base, f"{folders}/ckpts/last.ckpt"):
        return found
    hint = _newest_hint(base)  # of another tag, perhaps a misspelt one
    if training and hint is None:
        begun = _newest(base, f"{folders}/{COMMANDS}")
        return None if begun is None else _checkpoint_in(begun.parent)
    raise ConfigError(
        f"resume is 'last', but there is no {base / folders}/ckpts/last.ckpt.",
        hint=hint or "train first: add --train",
    )


def _checkpoint_in(root: Path) -> Path:
    """The newest checkpoint of a run folder; where it has none, its last.ckpt, which is missing."""
    last = root / "ckpts" / "last.ckpt"
    return last if last.is_file() else _newest(last.parent, "step=*.ckpt") or last


def _newest(base: Path, pattern: str) -> Path | None:
    return max(base.glob(pattern), key=lambda p: p.stat().st_mtime, default=None)


def _newest_hint(base: Path) -> str | None:
    found = _newest(base, "*/ckpts/last.ckpt")
    return f"the newest checkpoint of this experiment: resume={found}" if found else None


# --- what a run begins from -----------------------------------------------------------------------


def resumed(cfg: ExperimentConfig, verbs: Sequence[str]) -> Path | None:
    """The checkpoint that a config's `resume` names; see `find_resume`."""
    if not cfg.resume:
        return None
    place = (cfg.name, cfg.tag, cfg.exp_root_dir, cfg.use_timestamp)
    return find_resume(cfg.resume, *place, training="train" in verbs)


def start_checkpoint(
    cfg: ExperimentConfig, verbs: Sequence[str], resume: Path | None, last: Path
) -> Path | None:
    """The checkpoint whose weights are used, None where training begins anew.

    Args:
        cfg: the config.
        verbs: what is to be done.
        resume: the checkpoint to go on from, if there is one.
        last: of the run folder; it may not exist.

    Raises:
        ConfigError: if nothing is trained, and nothing was.
    """
    if resume is not None and resume.is_file():
        return resume
    if cfg.checkpoint:
        return Path(cfg.checkpoint)
    if "train" in verbs:
        return None
    if last.is_file():
        return last
    raise ConfigError(
        f"--{verbs[0]} needs something trained.",
        hint=f"add --train, or resume=last or resume=<a .ckpt file>; {last} does not exist",
    )


def check_start(cfg: ExperimentConfig, verbs: Sequence[str], typed: Sequence[str] = ()) -> None:
    """Refuse to begin from what is not there or cut short, or to go on elsewhere than was typed.

    Args:
        cfg: the config; its data and system are not looked at.
        verbs: what is to be done.
        typed: `key=value` words that were put over the config.

    Raises:
        StudioError: saying why.
    """
    resume = resumed(cfg, verbs)
    if told := os.environ.get(RUN_VARIABLE):
        root = Path(told)
    else:
        root = Path(cfg.exp_root_dir) / cfg.name / (cfg.tag + "@*" * cfg.use_timestamp)
        if resume is not None and resume.parent.name == "ckpts":
            _check_place(resume, cfg, typed)
    start = start_checkpoint(cfg, verbs, resume, RunFolder(root).last_checkpoint)
    if start is not None and os.access(start, os.R_OK):
        check_end(start)


def _check_place(resume: Path, cfg: ExperimentConfig, typed: Sequence[str]) -> None:
    """Refuse a place that was typed and is not that of the run that is gone on with."""
    root = resume.absolute().parent.parent
    its = {
        "tag": root.name == cfg.tag or root.name.startswith(f"{cfg.tag}@"),
        "name": root.parent.name == cfg.name,
        "exp_root_dir": root.parent.parent.resolve() == Path(cfg.exp_root_dir).resolve(),
    }
    for word in typed:
        if not its.get(word.partition("=")[0], True):
            raise ConfigError(
                f"{word} beside resume=: a run goes on in its own folder, {resume.parent.parent}.",
                hint=f"leave {word} out, or begin a run of its own from these weights: "
                f"checkpoint={resume} {word}",
            )
