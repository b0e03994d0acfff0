"""The run folder: where one experiment writes, and which of its stages are already done."""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from studio.config import ExperimentConfig, save_experiment
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
MEASURED = ("validate", "test")
"""Verbs whose figures stand in metrics.json, a row a step."""


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

    def write_config(self, cfg: ExperimentConfig) -> None:
        """Write configs/config.yaml; one that is there becomes config-1.yaml and so on."""
        target = self.configs / "config.yaml"
        if target.is_file():
            target.replace(self.configs / f"config-{self._earlier_configs() + 1}.yaml")
        save_experiment(cfg, target)

    def put_back_config(self) -> None:
        """Undo what `write_config` has written over an earlier one."""
        if count := self._earlier_configs():
            (self.configs / f"config-{count}.yaml").replace(self.configs / "config.yaml")

    def _earlier_configs(self) -> int:
        return len(list(self.configs.glob("config-*.yaml")))

    def write_metrics(self, metrics: Mapping[str, Any]) -> Path:
        """Merge values into metrics.json; NaN and infinity are written as null."""
        path = self.root / "metrics.json"
        merged = {**known_json(path), **{k: _finite(v) for k, v in metrics.items()}}
        write_json(path, merged)
        return path

    def write_measured(self, verb: str, step: int, values: Mapping[str, Any]) -> None:
        """Put figures of a checkpoint into metrics.json, a row a step under the verb.

        Args:
            verb: validate or test.
            step: of the weights that were measured.
            values: figures by name.
        """
        others = [row for row in self._measured(verb) if row["step"] != step]
        rows = sorted([*others, {"step": step, **values}], key=lambda row: int(row["step"]))
        self.write_metrics({verb: rows})

    def forget_measured(self, step: int) -> None:
        """Take away the figures of steps after this one, which are made anew."""
        for verb in MEASURED:
            rows = self._measured(verb)
            if later := [row for row in rows if row["step"] > step]:
                self.write_metrics({verb: [row for row in rows if row not in later]})

    def _measured(self, verb: str) -> list[dict[str, Any]]:
        rows = known_json(self.root / "metrics.json").get(verb)
        found = rows if isinstance(rows, list) else []
        return [row for row in found if isinstance(row, dict) and isinstance(row.get("step"), int)]

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


def world_size() -> int:
    """How many processes of this job were started by hand, by torchrun or by SLURM."""
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)
