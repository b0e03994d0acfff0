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
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

from numba import njit
from numba.core import event
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.extending import intrinsic
from numba.core.registry import CPUDispatcher

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

    Other threads of Python go on while it runs (see `studio.ops.threads`).

    Args:
        function: what to compile; without it, a decorator comes back.
        options: of `numba.njit`: fastmath.
    """
    if function is None:
        return functools.partial(kernel, **options)
    dispatcher = njit(error_model="numpy", nogil=True, **options)(function)
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
    return _Part(function, options)


class _Piece(JITCodeLibrary):
    """What a part is compiled to: code in the compiler's language, for kernels to take in.

    It becomes machine code there alone, as a piece of theirs, and is optimised with them: once.
    """

    def get_pointer_to_function(self, name: str) -> int:
        """There is none: `_Part` takes care that nobody calls it."""
        return 0

    @property
    def codegen(self) -> Any:
        """Who is told of a function's environment, which only its own machine code asks for."""
        return self

    def set_env(self, name: str, env: Any) -> None:
        """See `codegen`."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _PieceCompiler(Compiler):
    """numba's way to compile, with a piece as its result."""

    def compile_extra(self, function: Function) -> Any:
        """Numba's hook: compile."""
        self.state.library = _Piece(self.state.targetctx.codegen(), function.__qualname__)
        return super().compile_extra(function)


class _Part(CPUDispatcher):
    """A function for kernels. Python cannot call it: it has no machine code of its own."""

    def __init__(self, function: Function, options: Mapping[str, Any]) -> None:
        always = {"nopython": True, "error_model": "numpy", "forceinline": True}
        without = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        given = {**always, **without, **options}
        super().__init__(function, targetoptions=given, pipeline_class=_PieceCompiler)

    def add_overload(self, result: Any) -> None:
        """Numba's hook: keep what was compiled, but not for calls from Python."""
        self.overloads[tuple(result.signature.args)] = result

    def _compile_for_args(self, *_: Any, **__: Any) -> None:
        raise TypeError(f"{self.__name__} is a part of kernels: only they can call it")


def written(function: Function) -> Function:
    """Let parts call what is written in the compiler's language (see numba's `intrinsic`)."""
    made: Function = intrinsic(function)
    return made
