"""Loops compiled by numba: every process computes the same bits, whether it compiled them or not.

A compiled function that is called from compiled code exists twice: by itself, and as the caller's
own copy, which the compiler optimises anew. The process that compiles both runs the former, a
process that loads the caller from numba's cache the latter, and sums come out in another order. So
there is no function that compiled code calls: `kernel` is what Python calls, and every `part` of it
becomes a piece of its code.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

from numba import config, njit
from numba.core import event
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.extending import intrinsic

from studio.progress import StageProgress

logger = logging.getLogger(__name__)

FAST = {"contract", "nsz", "arcp", "reassoc"}  # sums in any order; nan and inf stay themselves

Function = Callable[..., Any]


class _Cache(FunctionCache):
    """numba's cache of a function, without which one can live: on a full disk, for example.

    It holds for as long as the files of the function and of all its parts are those it was made of.
    """

    def __init__(self, function: Function) -> None:
        super().__init__(function)
        stamps = [
            (path.name, path.stat().st_mtime, path.stat().st_size) for path in sources(function)
        ]
        self._cache_file = IndexDataCacheFile(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=(self._impl.locator.get_source_stamp(), stamps),
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What another process compiled, or None."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # damaged files fail in whichever way unpickling them does
            _go_on_without(type(error).__name__)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled for other processes."""
        try:
            super().save_overload(sig, data)
        except Exception as error:  # reads the index first
            _go_on_without(type(error).__name__)


@functools.cache
def _go_on_without(problem: str) -> None:
    """Say once that kernels are compiled again by every process."""
    logger.info(
        "compiled kernels are not kept for other processes (%s), each compiles them again; "
        "let NUMBA_CACHE_DIR name a folder that can be written to",
        problem,
    )


class _Told(event.Listener):
    """Shows that the compiler works: minutes on a slow machine, in its first run."""

    def __init__(self) -> None:
        self._stage = StageProgress("compiling kernels, once on this machine", pieces=True)
        self._depth = 0  # what a function calls is compiled within its own compilation

    def on_start(self, event: event.Event) -> None:
        """Numba's hook: a compilation begins."""
        self._depth += 1
        if self._depth == 1:
            self._stage.__enter__()

    def on_end(self, event: event.Event) -> None:
        """Numba's hook: it ends, well or not."""
        self._depth -= 1
        if self._depth == 0:
            self._stage.__exit__(None, None, None)


event.register("numba:compile", _Told())


def sources(function: Function) -> list[Path]:
    """The files that a function and its parts are written in."""
    files: set[Path] = set()
    seen: set[Function] = set()
    waiting = [function]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        files.add(Path(one.__code__.co_filename))
        named = (one.__globals__.get(name) for name in one.__code__.co_names)
        parts = (getattr(value, "py_func", getattr(value, "_defn", None)) for value in named)
        waiting += [part for part in parts if isinstance(part, FunctionType)]
    return sorted(path for path in files if path.is_file())


def kernel(function: Function | None = None, **options: Any) -> Function:
    """Compile a function that Python calls, and keep the result for other processes if possible.

    Args:
        function: what to compile; without it, a decorator comes back.
        options: of `numba.njit`: parallel, fastmath.
    """
    if function is None:
        return functools.partial(kernel, **options)
    dispatcher = njit(error_model="numpy", **options)(function)
    try:
        dispatcher._cache = _Cache(function)
    except RuntimeError:  # numba found no folder for its cache
        _go_on_without("no place can be written to")
    return dispatcher


def part(function: Function | None = None, **options: Any) -> Function:
    """Compile a function that kernels call: it becomes a piece of their code.

    Args:
        function: what to compile; without it, a decorator comes back.
        options: of `numba.njit`: fastmath.
    """
    if function is None:
        return functools.partial(part, **options)
    dispatcher = njit(error_model="numpy", forceinline=True, **options)(function)
    dispatcher.compile = _unoptimised(dispatcher.compile)
    return dispatcher


def _unoptimised(compilation: Function) -> Function:
    """Leave it to the kernel, of whose code a part becomes a piece, to optimise it: once."""

    def run(signature: Any) -> Any:
        before = config.OPT
        config.OPT = type(before)(0)
        try:
            return compilation(signature)
        finally:
            config.OPT = before

    return run


def written(function: Function) -> Function:
    """Let parts call what is written in the compiler's language (see numba's `intrinsic`)."""
    made: Function = intrinsic(function)
    return made
