"""The run folder: where one experiment writes, and which of its stages are already done."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from studio.errors import ConfigError
from studio.files import make_folder, write_json, write_text

RUN_VARIABLE = "STUDIO_RUN_DIR"
"""Environment variable by which the first process tells the others where the run folder is."""

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""What torchrun, Lightning and SLURM number processes and machines by."""

SUBFOLDERS = ("ckpts", "configs", "views", "save", "export", "logs")


class RunFolder:
    """`outputs/<name>/<tag>@<time>/` with its fixed subfolders.

    Constructing one writes nothing; `create` makes the folders once everything has been checked.

    Attributes:
        root: the run folder.
        allow_pickle: whether checkpoints that need pickle may be loaded.
    """

    def __init__(self, root: Path | str, *, allow_pickle: bool = False) -> None:
        self.root = Path(root)
        self.allow_pickle = allow_pickle
        self.ckpts = self.root / "ckpts"
        self.configs = self.root / "configs"
        self.views = self.root / "views"
        self.save = self.root / "save"
        self.export = self.root / "export"
        self.logs = self.root / "logs"

    def __repr__(self) -> str:
        return f"RunFolder({str(self.root)!r})"

    @property
    def last_checkpoint(self) -> Path:
        """The newest checkpoint; it may not exist yet."""
        return self.ckpts / "last.ckpt"

    def create(self) -> RunFolder:
        """Make the folder and its subfolders; returns itself."""
        for name in SUBFOLDERS:
            make_folder(self.root / name)
        return self

    def write_command(self, argv: Sequence[str]) -> None:
        """Append the command line to cmd.txt."""
        path = self.root / "cmd.txt"
        earlier = path.read_text(encoding="utf-8") if path.is_file() else ""
        stamp = datetime.now().astimezone().isoformat(timespec="seconds")
        write_text(path, f"{earlier}# {stamp}\npython {shlex.join(argv)}\n")

    def write_metrics(self, metrics: Mapping[str, Any]) -> Path:
        """Merge values into metrics.json; NaN and infinity are written as null."""
        path = self.root / "metrics.json"
        merged = {**read_json(path), **{k: _finite(v) for k, v in metrics.items()}}
        write_json(path, merged)
        return path

    # --- stages -----------------------------------------------------------------------------

    def stage_current(self, name: str, key_hash: str) -> bool:
        """Whether the stage was finished with exactly these inputs and its outputs still stand.

        Args:
            name: the stage, for example "views".
            key_hash: `hash_of` everything that the stage depends on.
        """
        stamp = read_json(self._stamp(name))
        if stamp.get("key") != key_hash:
            return False
        outputs: dict[str, str] = stamp.get("outputs", {})
        return all(
            (self.root / path).exists() and _fingerprint(self.root / path) == mark
            for path, mark in outputs.items()
        )

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
            marks[inside.as_posix()] = _fingerprint(path)
        write_json(self._stamp(name), {"stage": name, "key": key_hash, "outputs": marks})

    def _stamp(self, name: str) -> Path:
        return self.root / "logs" / f"stage-{name}.json"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty if the file is missing or not a JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


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


def _fingerprint(path: Path) -> str:
    """Contents of a file or folder, cheaply: names and sizes."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return hash_of([(f.relative_to(path.parent).as_posix(), f.stat().st_size) for f in files])


# --- hashing --------------------------------------------------------------------------------------


def hash_of(*parts: Any) -> str:
    """A hash (16 hex digits) of values, config dataclasses, arrays, tensors and files.

    A `Path` stands for the bytes of the file, or of every file below the folder; a path that does
    not exist counts as such. Mappings do not depend on their order.

    Raises:
        TypeError: for a value whose content is not known.
    """
    digest = hashlib.sha256()
    for part in parts:
        _feed(digest, part)
    return digest.hexdigest()[:16]


def _feed(digest: hashlib._Hash, part: Any) -> None:
    label = "list" if isinstance(part, tuple) else type(part).__name__
    digest.update(f"<{label}>".encode())
    if part is None or isinstance(part, str | int | float | bool | bytes):
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
    elif isinstance(part, Path):
        _feed_path(digest, part)
    elif isinstance(part, Mapping):
        for key in sorted(part, key=str):
            digest.update(repr(key).encode())
            _feed(digest, part[key])
    elif isinstance(part, list | tuple):
        for item in part:
            _feed(digest, item)
    elif dataclasses.is_dataclass(part) and not isinstance(part, type):
        _feed(digest, {f.name: getattr(part, f.name) for f in dataclasses.fields(part)})
    elif hasattr(part, "detach"):  # a torch tensor, without importing torch
        _feed(digest, part.detach().cpu().float().numpy())
    elif hasattr(part, "tobytes"):
        digest.update(f"{part.shape}{part.dtype}".encode())
        digest.update(part.tobytes())
    else:
        raise TypeError(f"cannot hash a {type(part).__name__}")
    digest.update(b"</>")


def _feed_path(digest: hashlib._Hash, path: Path) -> None:
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(file.relative_to(path).as_posix().encode())
            _feed_path(digest, file)
    elif path.is_file():
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    else:
        digest.update(f"missing {path}".encode())


# --- choosing the folder --------------------------------------------------------------------------


def first_process() -> bool:
    """Whether this process of a job is the one that prints; known before processes connect."""
    return all(int(os.environ.get(name) or 0) == 0 for name in RANK_VARIABLES)


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
    base = Path(exp_root_dir) / name
    if resume is not None and resume.parent.name == "ckpts":
        root = resume.parent.parent
    elif not use_timestamp:
        root = base / tag
    else:
        root = base / f"{tag}@{_agreed_time()}"
    os.environ[RUN_VARIABLE] = str(root)
    return RunFolder(root, allow_pickle=allow_pickle)


def _agreed_time() -> str:
    """The start time, the same in every process of the job."""
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    world = int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)
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


def find_resume(word: str, name: str, tag: str, exp_root_dir: str, use_timestamp: bool) -> Path:
    """The checkpoint that `resume=` names.

    Args:
        word: a path, or "last": last.ckpt of the fixed run folder or of the newest timed one.
        name: experiment name.
        tag: run name.
        exp_root_dir: folder of all experiments.
        use_timestamp: whether run folders carry a time.

    Raises:
        ConfigError: if there is no such checkpoint.
    """
    base = Path(exp_root_dir) / name
    if word != "last":
        path = Path(word)
        if path.is_dir():
            path = path / "last.ckpt" if path.name == "ckpts" else path / "ckpts" / "last.ckpt"
        if not path.is_file():
            raise ConfigError(
                f"resume is '{word}', but {path} does not exist.",
                allowed="a .ckpt file, a run folder, or last",
                hint=_newest_hint(base),
            )
        return path
    folders = glob.escape(tag) + ("@*" if use_timestamp else "")
    pattern = f"{folders}/ckpts/last.ckpt"
    found = sorted(base.glob(pattern), key=lambda p: p.stat().st_mtime)
    if not found:
        raise ConfigError(
            f"resume is 'last', but there is no {base / pattern}.",
            hint=_newest_hint(base) or "train first: --train without resume",
        )
    return found[-1]


def _newest_hint(base: Path) -> str | None:
    found = sorted(base.glob("*/ckpts/last.ckpt"), key=lambda p: p.stat().st_mtime)
    return f"the newest checkpoint of this experiment: resume={found[-1]}" if found else None
