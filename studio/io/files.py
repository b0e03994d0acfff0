"""Files written so that a reader finds either the old one or the whole new one."""

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.errors import StudioError

_ADVICE = {
    errno.EACCES: "write permission is missing: choose another folder or change its permissions",
    errno.EPERM: "writing is not permitted here: choose another folder",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOSPC: "the disk is full: free some space or choose a folder on another disk",
    errno.EDQUOT: "the disk quota is used up: free some space or choose another disk",
    errno.EFBIG: "the file is larger than the system allows: see `ulimit -f` and the file system",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another folder",
    errno.EISDIR: "a folder of that name exists: remove it or choose another name",
    errno.EEXIST: "a file of that name is in the way: remove it or choose another name",
    errno.ENAMETOOLONG: "the name is too long for the file system: choose a shorter one",
    errno.ENOENT: "its folder does not exist and cannot be made: choose another one",
}
_MACHINE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MACHINE |= {errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.EMFILE, errno.ENFILE}
_TORCH_WRITER = re.compile(r"inline_container|PytorchStreamWriter|file write failed|iostream error")
_ENOUGH_TO_BLAME_ANOTHER_CAUSE = 1 << 20  # bytes; less than this free means "the disk is full"


@contextlib.contextmanager
def atomic_write(path: str | Path, *, parents: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` when the block succeeds.

    The temporary name keeps the last suffix, so that writers which choose the format by name
    (Pillow, trimesh, imageio) work. If the block fails, the temporary file is removed and an
    existing `path` stays untouched.

    ```python
    with atomic_write("ckpts/last.ckpt") as temporary:
        torch.save(state, temporary)
    ```

    Args:
        path: the file.
        parents: make missing parent folders; False: a folder that others have removed stays so.

    Raises:
        StudioError: when the system refuses to write (no permission, read-only, disk full, ...),
            whether it says so by an OSError or through torch's or safetensors' own exceptions.
    """
    target = Path(path)
    if parents:
        make_folder(target.parent)
    if target.is_dir():
        raise refused(OSError(errno.EISDIR, "Is a directory"), target)
    if target.parent not in _cleaned:
        _cleaned.add(target.parent)
        remove_temporaries(target.parent)
    temporary = temporary_name(target)
    try:
        yield temporary
        with_usual_permissions(temporary)
        temporary.replace(target)
    except Exception as error:
        code = _system_code(error, temporary)
        if code is None:
            raise
        raise refused(OSError(code, str(error)), target) from error
    finally:
        with contextlib.suppress(OSError):  # already renamed, or never made
            temporary.unlink()


def with_usual_permissions(path: Path) -> None:
    """Give a file those that new files have here: safetensors lets nobody else read what it writes.

    File systems without permissions stay as they are.
    """
    with contextlib.suppress(OSError):
        path.chmod(0o666 & ~_UMASK)


def _umask() -> int:
    """What new files of this process lack of permissions; to be asked before threads begin."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_UMASK = _umask()


def temporary_name(target: Path) -> Path:
    """A hidden name beside `target` that says which process writes it."""
    name = f".{secrets.token_hex(6)}-{PLACE}-{os.getpid()}.tmp{target.suffix}"
    return target.with_name(name)


def _place() -> str:
    """Six hex digits for where process numbers mean something: a machine, a container."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:6]


PLACE = _place()
_TEMPORARY = re.compile(r"\.[0-9a-f]{12}(?:-(?P<place>[0-9a-f]{6})-(?P<pid>\d+))?\.tmp(\..*)?")
_cleaned: set[Path] = set()


def remove_temporaries(folder: Path, *, all_below: bool = False) -> None:
    """Remove temporary files and folders that dead processes have left in a folder.

    Args:
        folder: where `atomic_write` or `written_whole` wrote.
        all_below: also those in folders below it, and those of which nobody can tell (of other
            machines, of earlier versions); only for a folder that no other process writes to.
    """
    for path in list(folder.rglob(".*.tmp*") if all_below else folder.glob(".*.tmp*")):
        found = _TEMPORARY.fullmatch(path.name)
        if found and (all_below or (found["place"] == PLACE and not alive(int(found["pid"])))):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
                continue
            with contextlib.suppress(OSError):
                path.unlink()


def alive(pid: int) -> bool:
    """Whether a process of this machine runs; True where that cannot be told."""
    if sys.platform == "win32":  # there, signal 0 ends the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state != "Z"


def make_folder(path: str | Path, *, parents: bool = True) -> Path:
    """Make a folder, with those above it, or say clearly why that is not possible."""
    folder = Path(path)
    try:
        folder.mkdir(parents=parents, exist_ok=True)
    except OSError as error:
        raise refused(error, folder) from error
    return folder


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_bytes(path: str | Path, content: bytes, *, parents: bool = True) -> None:
    """Write bytes atomically; see `atomic_write`."""
    with atomic_write(path, parents=parents) as temporary:
        temporary.write_bytes(content)


def json_text(value: Any) -> str:
    """Return strict JSON (NaN and infinity are a ValueError), indented by two spaces."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_json(path: str | Path, value: Any, *, parents: bool = True) -> None:
    """Write strict JSON atomically; see `atomic_write`."""
    write_bytes(path, json_text(value).encode(), parents=parents)


def remove(path: str | Path) -> None:
    """Remove a file if it exists, or say clearly why that is not possible."""
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise refused(error, Path(path)) from error


def refused(error: OSError, path: Path) -> StudioError:
    """The clear message for a write that the system refused."""
    advice = _ADVICE.get(error.errno or 0, f"the system says: {error.strerror or error}")
    return StudioError(f"cannot write {path}", hint=advice)


def explained(error: OSError) -> StudioError | None:
    """The clear message for a file that the system does not let us use; None for other errors."""
    if error.filename is None or error.errno not in _MACHINE:
        return None
    return StudioError(
        f"cannot use {error.filename}: {(error.strerror or str(error)).lower()}.",
        hint="choose another file or folder, or change its name or permissions",
    )


def _system_code(error: BaseException, temporary: Path) -> int | None:
    """The errno behind an exception, or None when it is not a refusal to write `temporary`.

    An OSError that names another file (one that the block could not read, say) is not ours.
    safetensors reports "(os error 28)" in its text; torch's zip writer only names its own
    source line, so a disk that is full by now, or a limit of files' sizes, is taken as the cause.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _ADVICE:
            names = (cause.filename, cause.filename2)  # copying names the source first
            if cause.filename is None or str(temporary) in map(str, names):
                return cause.errno
        reported = re.search(r"\(os error (\d+)\)", str(cause))
        if reported and int(reported[1]) in _ADVICE:
            return int(reported[1])
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, RuntimeError) and _TORCH_WRITER.search(str(error)):
        with contextlib.suppress(OSError):
            if shutil.disk_usage(temporary.parent).free < _ENOUGH_TO_BLAME_ANOTHER_CAUSE:
                return errno.ENOSPC
        if _files_are_limited():
            return errno.EFBIG
    return None


def _files_are_limited() -> bool:
    """Whether the system lets this process write files of a certain size only (`ulimit -f`)."""
    try:
        import resource
    except ImportError:  # Windows
        return False
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
