"""Files of weights, read and written: safe, whole or not at all, with clear messages.

A pickle can run code when it is opened, so `.ckpt`, `.pt` and `.bin` files are read with torch's
weights-only loader, and where a file also holds other objects (Lightning keeps optimiser,
callbacks and at times data sets), with an unpickler that knows tensors only and puts an inert
stand-in for everything else. Neither runs code from the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from studio.errors import WeightsError
from studio.io.file_maps import FileMaps
from studio.io.files import atomic_write
from studio.io.pickled import TensorPickle
from studio.io.weight_files import PICKLED, check_kind, is_archive, whole


def read_tensors(
    path: Path | str, allow_pickle: bool = False, *, section: str | None = None
) -> dict[str, Tensor]:
    """Read the named tensors of a weights file, on the CPU.

    Args:
        path: a .safetensors, .ckpt, .pt, .pth or .bin file.
        allow_pickle: open a file that cannot be read safely with the full unpickler, which runs
            whatever code the file holds. Only for files whose author you trust.
        section: key of a pickled file whose mapping holds the tensors; by default "state_dict" if
            there is one, else the top level. Entries that are no tensors are left out.

    Raises:
        WeightsError: if the file is missing, truncated, of another kind or holds no tensors.
    """
    path = Path(path)
    check_kind(path)
    if path.suffix == ".safetensors":
        with whole(path, "is truncated or damaged"):
            return load_file(path)
    content = read_checkpoint(path, allow_pickle)
    if section is None and isinstance(content, Mapping) and "state_dict" in content:
        section = "state_dict"
    if section is not None:
        content = content.get(section) if isinstance(content, Mapping) else None
    items = content.items() if isinstance(content, Mapping) else ()
    tensors = {str(k): v.detach() for k, v in items if isinstance(v, Tensor)}
    if not tensors:
        where = f"no mapping {section!r} of tensors" if section else "no named tensors"
        raise WeightsError(f"{path} holds {where}.", allowed="a state dict of tensors")
    return tensors


def read_checkpoint(path: Path | str, allow_pickle: bool = False) -> Any:
    """Read a pickled checkpoint as it is; objects other than tensors become inert stand-ins.

    Raises:
        WeightsError: if the file is missing, truncated or not a torch checkpoint.
    """
    path = Path(path)
    check_kind(path)
    if path.suffix not in PICKLED:
        raise WeightsError(
            f"{path} has an unknown kind of name for weights.",
            allowed=", ".join((".safetensors", *PICKLED)),
        )
    archive = is_archive(path)
    attempts: list[dict[str, Any]] = [
        {"weights_only": True},
        {"weights_only": False, "pickle_module": TensorPickle},
    ]
    if allow_pickle:
        attempts.append({"weights_only": False})
    for options in attempts:
        try:
            return open_pickled(path, mmap=archive, **options)
        except WeightsError as problem:
            error = problem
    if archive and not allow_pickle:
        raise WeightsError(
            f"{path} is damaged, or cannot be read without running the code it may hold.",
            hint="If you trust its author, give allow_pickle=true; better: save it as safetensors.",
        ) from error
    raise error


def open_pickled(path: Path, **options: Any) -> Any:
    """What `torch.load` makes of a file on the CPU, under the guard of all readers.

    Args:
        path: of the file.
        options: as for `torch.load`.

    Raises:
        WeightsError: if it cannot be read so; what torch raised is its cause.
    """
    with whole(path, "is truncated or no torch checkpoint"):
        is_archive(path)
        return torch.load(path, map_location="cpu", **options)


def write_tensors(
    path: Path | str, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write tensors as safetensors, atomically; shared and strided ones are copied."""
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with atomic_write(path) as temporary:
        save_file(plain, temporary, metadata={"format": "pt", **(metadata or {})})


def load_strict(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    source: Path | str,
    *,
    ignore: Callable[[str], bool] | Iterable[str] = (),
) -> None:
    """Copy tensors into a module; every key must be there, none left over, every shape right.

    A module on the meta device gets copies in float32, made one after the other: the file that
    they are mapped from may change or go afterwards.

    Args:
        module: what to fill.
        tensors: in the module's own names.
        source: named in the error.
        ignore: names, or a test of names, that may be left over.

    Raises:
        WeightsError: naming what is missing, unexpected, of another shape or not finite.
    """
    skip = ignore if callable(ignore) else set(ignore).__contains__
    tensors = {name: value for name, value in tensors.items() if not skip(name)}
    own = module.state_dict()
    missing = [name for name in own if name not in tensors]
    left = [name for name in tensors if name not in own]
    shapes = [
        f"{name} {list(tensors[name].shape)} instead of {list(value.shape)}"
        for name, value in own.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if missing or left or shapes:
        report = [("missing", missing), ("unexpected", left), ("wrong shape", shapes)]
        raise WeightsError(
            f"{source} does not fit {type(module).__name__}: "
            + "; ".join(f"{len(n)} {what}: {_some(n)}" for what, n in report if n),
            hint="Check that the checkpoint belongs to this method and size of model.",
        )
    meta = any(value.is_meta for value in own.values())
    if meta:
        tensors = _copies(tensors)
    trained = {name for name, _ in module.named_parameters()}
    check_finite({k: v for k, v in tensors.items() if k in trained}, source)
    module.load_state_dict(dict(tensors), strict=True, assign=meta)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors, floating ones to float32; what they are mapped from takes no memory then."""
    maps, copies = FileMaps(), {}
    for name, value in tensors.items():
        kind = torch.float32 if value.is_floating_point() else value.dtype
        copies[name] = torch.empty(value.shape, dtype=kind, device=value.device).copy_(value)
        maps.release(value)
    return copies


def check_finite(tensors: Mapping[str, Tensor], source: Path | str) -> None:
    """Refuse weights that hold infinities or what is no number.

    Raises:
        WeightsError: naming the tensors.
    """
    broken = [name for name, value in tensors.items() if not _is_finite(value)]
    if broken:
        raise WeightsError(
            f"{source}: {len(broken)} of {len(tensors)} tensors hold values that are not finite: "
            f"{_some(broken)}.",
            hint="Their training went wrong or the file is damaged: take another one.",
        )


def _is_finite(value: Tensor) -> bool:
    if value.is_meta or not value.is_floating_point():
        return True
    # The sum of finite numbers is finite, but for huge ones; it is several times cheaper.
    return bool(value.sum(dtype=torch.float32).isfinite()) or bool(value.isfinite().all())


def _some(names: list[str], most: int = 4) -> str:
    more = f", ... ({len(names) - most} more)" if len(names) > most else ""
    return ", ".join(names[:most]) + more
