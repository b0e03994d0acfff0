"""Files as `torch.save` writes them, one tensor in memory at a time, foreign classes included."""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from tests.fullsize.values import Values

_STORAGES = {
    torch.float32: torch.FloatStorage,
    torch.float16: torch.HalfStorage,
    torch.int64: torch.LongStorage,
    torch.int32: torch.IntStorage,
}
_ALIGNED = 64  # bytes; torch maps storages into memory where they lie
_HEADER = 30  # bytes of a zip file's local header, before name and extra field


def write_archive(path: Path, content: Any) -> None:
    """Write nested containers, plain values and `Lazy` tensors as a torch checkpoint."""
    pickled = io.BytesIO()
    pickler = _Pickler(pickled)
    pickler.dump(content)
    root = path.stem
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr(f"{root}/data.pkl", pickled.getvalue())
        for number, values in enumerate(pickler.storages):
            _write_record(archive, f"{root}/data/{number}", values)
        archive.writestr(f"{root}/version", b"3\n")


class Lazy:
    """A tensor of a pickle whose numbers are made when they are written."""

    def __init__(self, values: Values) -> None:
        self.values = values

    def __reduce__(self) -> tuple[Any, ...]:
        shape = self.values.shape
        strides = tuple(torch.empty(shape, device="meta").stride())
        arguments = (_Storage(self.values), 0, tuple(shape), strides, False, OrderedDict())
        return torch._utils._rebuild_tensor_v2, arguments


class _Storage:
    def __init__(self, values: Values) -> None:
        self.values = values


class _Pickler(pickle.Pickler):
    """Writes storages by number, as torch does, and keeps them for later."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=2)
        self.storages: list[Values] = []

    def persistent_id(self, thing: Any) -> Any:
        if not isinstance(thing, _Storage):
            return None
        self.storages.append(thing.values)
        kind = _STORAGES[thing.values.dtype]
        return "storage", kind, str(len(self.storages) - 1), "cpu", thing.values.count


def _write_record(archive: zipfile.ZipFile, name: str, values: Values) -> None:
    assert archive.fp is not None
    before = archive.fp.tell() + _HEADER + len(name) + 4  # 4: an extra field's own header
    padding = -before % _ALIGNED
    record = zipfile.ZipInfo(name)
    record.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    archive.writestr(record, values.make().numpy().tobytes() if values.count else b"")


# ---------------------------------------------------------------- foreign classes


@contextlib.contextmanager
def stand_ins(*names: str) -> Iterator[None]:
    """Let classes of these dotted names exist while objects of them are pickled."""
    modules: dict[str, types.ModuleType] = {}
    for name in names:
        module, _, cls = name.rpartition(".")
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            prefix = ".".join(parts[:end])
            modules.setdefault(prefix, types.ModuleType(prefix))
        setattr(modules[module], cls, type(cls, (), {"__module__": module}))
    with mock.patch.dict(sys.modules, modules):
        yield


def stand_in(name: str, **state: Any) -> Any:
    """Return an object of a foreign class with these attributes, within `stand_ins`."""
    made = object.__new__(stand_in_class(name))
    made.__dict__.update(state)
    return made


def stand_in_class(name: str) -> type:
    """Return a foreign class itself, within `stand_ins`."""
    module, _, cls = name.rpartition(".")
    return getattr(sys.modules[module], cls)
