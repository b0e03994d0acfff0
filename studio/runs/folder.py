"""The run folder: where one experiment writes, and which of its stages are already done."""

from __future__ import annotations

import glob
import itertools
import os
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from studio.errors import ConfigError
from studio.io.files import (
    make_folder,
    refused,
    remove,
    remove_temporaries,
    write_bytes,
    write_json,
)
from studio.io.reading import known_json
from studio.runs.hashing import hash_of
from studio.runs.lock import RunLock

RUN_VARIABLE = "STUDIO_RUN_DIR"
"""Environment variable by which the first process tells the others where the run folder is."""


SUBFOLDERS = ("ckpts", "configs", "views", "save", "export", "logs")
COMMANDS = "cmd.txt"


class RunFolder:
    """`outputs/<name>/<tag>@<time>/` with its fixed subfolders.

    Constructing one writes nothing; `create` makes the folders once everything has been checked.

    Attributes:
        root: the run folder.
        allow_pickle: whether checkpoints that need pickle may be loaded.
        new: whether no other run may have made the folder; `create` numbers its name otherwise.
    """

    def __init__(self, root: Path | str, *, allow_pickle: bool = False, new: bool = False) -> None:
        self.root = Path(root)
        self.allow_pickle = allow_pickle
        self.new = new
        self._lock: RunLock | None = None

    def __repr__(self) -> str:
        return f"RunFolder({str(self.root)!r})"

    ckpts = property(lambda self: self.root / "ckpts")
    configs = property(lambda self: self.root / "configs")
    views = property(lambda self: self.root / "views")
    save = property(lambda self: self.root / "save")
    export = property(lambda self: self.root / "export")
    logs = property(lambda self: self.root / "logs")

    @property
    def last_checkpoint(self) -> Path:
        """The newest checkpoint; it may not exist yet."""
        return self.ckpts / "last.ckpt"

    def create(self) -> RunFolder:
        """Make the folder and its subfolders, lock them and clean up; returns itself.

        Raises:
            ConfigError: if another process writes here.
            StudioError: if the system refuses.
        """
        if self.new:
            self._make_exclusively()
        make_folder(self.root)
        self.lock()
        for name in SUBFOLDERS:
            make_folder(self.root / name)
        remove_temporaries(self.root, all_below=True)
        return self

    def _make_exclusively(self) -> None:
        """Make a folder that no run of the same second has: its name gets a number if need be."""
        stem = self.root.name
        make_folder(self.root.parent)
        for number in itertools.count(2):
            try:
                self.root.mkdir()
                break
            except FileExistsError:
                if world_size() > 1:  # the other processes know the name already
                    raise ConfigError(
                        f"{self.root} has just been made by another run.", hint="start again"
                    ) from None
                self.root = self.root.with_name(f"{stem}-{number}")
            except OSError as error:
                raise refused(error, self.root) from error
        self.new = False
        os.environ[RUN_VARIABLE] = str(self.root)

    def lock(self) -> None:
        """Keep other runs out of the folder, if there is one, until `unlock`.

        Raises:
            ConfigError: naming the process that writes here.
        """
        if self._lock is None and self.root.is_dir():
            self._lock = RunLock(self.root).acquire()

    def unlock(self) -> None:
        """Let other runs in."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def write_command(self, argv: Sequence[str]) -> None:
        """Append the command line to cmd.txt."""
        path = self.root / COMMANDS
        earlier = path.read_bytes() if path.is_file() else b""
        stamp = datetime.now().astimezone().isoformat(timespec="seconds")
        command = f"# {stamp}\n{shlex.join(argv)}\n"
        write_bytes(path, earlier + command.encode(errors="surrogateescape"))

    def write_metrics(self, metrics: Mapping[str, Any]) -> Path:
        """Merge values into metrics.json; NaN and infinity are written as null."""
        path = self.root / "metrics.json"
        merged = {**known_json(path), **{k: _finite(v) for k, v in metrics.items()}}
        write_json(path, merged)
        return path

    # --- stages -----------------------------------------------------------------------------

    def stage_current(self, name: str, key_hash: str) -> bool:
        """Whether the stage was finished with exactly these inputs and its outputs still stand.

        Args:
            name: the stage, for example "views".
            key_hash: `hash_of` everything that the stage depends on.
        """
        stamp = known_json(self._stamp(name))
        outputs = stamp.get("outputs")
        if stamp.get("key") != key_hash or not isinstance(outputs, dict):
            return False
        return all(hash_of(self.root / path) == mark for path, mark in outputs.items())

    def stage_begins(self, name: str) -> None:
        """Take the stage's stamp away: from now on its outputs are no longer what it says."""
        remove(self._stamp(name))

    def stage_done(self, name: str, key_hash: str, outputs: Sequence[Path | str] = ()) -> None:
        """Note that a stage is finished.

        Args:
            name: the stage.
            key_hash: as for `stage_current`.
            outputs: files or folders that it wrote, all of which exist.
        """
        root = self.root.resolve()
        marks = {}
        for output in outputs:
            path = Path(output).resolve()
            inside = path.relative_to(root) if path.is_relative_to(root) else path
            marks[inside.as_posix()] = hash_of(path)
        write_json(self._stamp(name), {"stage": name, "key": key_hash, "outputs": marks})

    def finished_stages(self) -> list[str]:
        """Names of the stages that were finished here, whatever has changed since."""
        stamps = sorted((self.root / "logs").glob("stage-*.json"))
        return [path.stem.removeprefix("stage-") for path in stamps]

    def _stamp(self, name: str) -> Path:
        return self.root / "logs" / f"stage-{name}.json"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
        return None
    return value


# --- choosing the folder --------------------------------------------------------------------------


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


def world_size() -> int:
    """How many processes of this job were started by hand, by torchrun or by SLURM."""
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)


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
