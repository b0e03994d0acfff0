"""A pickle that knows tensors only: an inert stand-in takes the place of everything else."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from typing import Any

import torch


class _Opaque:
    """Inert stand-in of an unknown class or function: swallows whatever a pickle does to it."""

    def __new__(cls, *_: Any, **__: Any) -> _Opaque:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, *_: Any, **__: Any) -> _Opaque:
        return self

    def __setstate__(self, _: Any) -> None: ...

    def __setitem__(self, *_: Any) -> None: ...

    def append(self, _: Any) -> None:
        """Swallow a list item."""

    def extend(self, _: Any) -> None:
        """Swallow list items."""

    def add(self, _: Any) -> None:
        """Swallow a set item."""


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch.serialization", "_get_layout"): torch.serialization._get_layout,
    **{
        ("torch._utils", name): getattr(torch._utils, name)
        for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
    },
    **{
        ("torch", kind.__name__): kind
        for kind in (
            torch.FloatStorage, torch.HalfStorage, torch.BFloat16Storage, torch.DoubleStorage,
            torch.LongStorage, torch.IntStorage, torch.ShortStorage, torch.CharStorage,
            torch.ByteStorage, torch.BoolStorage,
        )
    },
}  # fmt: skip


class TensorPickle:
    """What `torch.load` takes as its pickle module: an unpickler that knows tensors only."""

    class Unpickler(pickle._Unpickler):  # type: ignore[name-defined]
        """Resolves the few names a tensor needs; any other becomes `_Opaque`.

        It is pickle's own in Python: that in C makes room for as many objects as a file says.
        """

        def find_class(self, module: str, name: str) -> Any:
            """What a name in the file stands for."""
            return _KNOWN.get((module, name), _Opaque)

    @classmethod
    def load(cls, file: io.BufferedIOBase, **options: Any) -> Any:
        """Read one object (the older file format has several in a row)."""
        return cls.Unpickler(file, **options).load()
