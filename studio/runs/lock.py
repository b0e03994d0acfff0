"""The lock of a run folder: one run at a time writes into it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
from datetime import datetime
from pathlib import Path
from typing import Any

from studio.errors import ConfigError
from studio.io.files import alive, refused

try:
    import fcntl
except ImportError:  # Windows: the process that the file names decides
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


class RunLock:
    """A file in the folder that names the process which writes there.

    The system drops the lock of a process that has died, in whatever way; where a file system
    has no locks, the process that the file names is looked for, if it is one of this machine.

    Args:
        folder: the run folder, which exists.
        name: of the file.
        other: option that gives a run a folder of its own.
    """

    def __init__(self, folder: Path, name: str = NAME, other: str = "tag") -> None:
        self.path, self._other = folder / name, other
        self._descriptor = -1

    def acquire(self) -> RunLock:
        """Take the lock; returns itself.

        Raises:
            ConfigError: naming the process that holds it.
        """
        try:
            while not self._try():
                pass
        except OSError as error:
            raise refused(error, self.path) from error
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        holder = {"pid": os.getpid(), "host": platform.node(), "since": now}
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(holder).encode(), 0)
        return self

    def _try(self) -> bool:
        """Open and lock the file; False where it was removed or is to be made anew."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = _lock(descriptor)
            holder = self._holder(descriptor)
            if locked is None and holder and not _gone(holder):  # no locks here
                raise self._taken(holder)
            if locked is False:
                if not _gone(holder):
                    raise self._taken(holder)
                with contextlib.suppress(FileNotFoundError):
                    self.path.unlink()  # held by what a dead process has left behind
                return False
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), self.path.stat()):
                    self._descriptor, descriptor = descriptor, -1
                    return True
            return False
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1

    @staticmethod
    def _holder(descriptor: int) -> dict[str, Any]:
        try:
            holder = json.loads(os.pread(descriptor, 4096, 0))
        except ValueError:
            return {}
        return holder if isinstance(holder, dict) else {}

    def _taken(self, holder: dict[str, Any]) -> ConfigError:
        who = (
            f"process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')}"
            if holder
            else "another process"
        )
        return ConfigError(
            f"{self.path.parent} is in use by {who}.",
            hint="wait until it has ended, or give this run a folder of its own: "
            f"{self._other}=... (if it is known to be dead: remove {self.path})",
        )


def in_use(folder: Path) -> bool:
    """Whether a process writes into a run folder now, by what its lock file says; takes nothing."""
    try:
        holder = json.loads((folder / NAME).read_bytes()[:4096])
    except (OSError, ValueError):
        return False
    return isinstance(holder, dict) and not _gone(holder)


def _lock(descriptor: int) -> bool | None:
    """Whether the lock was free; None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _gone(holder: dict[str, Any]) -> bool:
    """Whether the process is one of this machine and runs no more."""
    pid = holder.get("pid")
    return holder.get("host") == platform.node() and isinstance(pid, int) and not alive(pid)
