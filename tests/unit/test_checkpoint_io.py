"""Weights files: safe, strict, and clear about what is wrong with them."""

from __future__ import annotations

import gc
import math
import os
import sys
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from studio.errors import WeightsError
from studio.io.file_maps import FileMaps
from studio.io.weights import load_strict, read_checkpoint, read_tensors, write_tensors

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(400).half()}


class _Foreign:
    """An object of a library that a reader does not have."""

    def __init__(self) -> None:
        self.items = [1, {"x": {2, 3}}]


class _Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def lightning_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint that holds an object of a module that is gone when it is read."""
    library = types.ModuleType("a_library_that_is_gone")
    library.Thing = type("Thing", (_Foreign,), {"__module__": library.__name__})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, library.__name__, library)
    path = tmp_path / "last.ckpt"
    content = {"state_dict": TENSORS, "epoch": 3, "datasets": [library.Thing(), library.Thing]}
    torch.save(content, path)
    torch.save(content, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    monkeypatch.delitem(sys.modules, library.__name__)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt", ".pt", ".pth", ".bin"])
def test_reads_every_kind(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        write_tensors(path, TENSORS)
    else:
        torch.save(TENSORS, path)
    read = read_tensors(path)
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[k], v) and read[k].dtype == v.dtype for k, v in TENSORS.items())


def test_reads_parameters_strided_and_shared_tensors(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"t": base.T, "part": base[1:], "parameter": nn.Parameter(base)}
    torch.save(tensors, tmp_path / "w.pt")
    write_tensors(tmp_path / "w.safetensors", tensors)
    for name in ("w.pt", "w.safetensors"):
        read = read_tensors(tmp_path / name)
        assert all(torch.equal(read[k], v) for k, v in tensors.items())


@pytest.mark.parametrize("name", ["last.ckpt", "old.ckpt"])
def test_unknown_objects_become_stand_ins(lightning_file: Path, name: str) -> None:
    path = lightning_file.with_name(name)
    with pytest.raises(Exception, match="a_library_that_is_gone"):
        torch.load(path, weights_only=False)
    read = read_tensors(path)
    assert all(torch.equal(read[k], v) for k, v in TENSORS.items())
    assert read_checkpoint(path)["epoch"] == 3


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    torch.save({"state_dict": TENSORS, "extra": _Malicious(trace)}, tmp_path / "bad.ckpt")
    assert read_tensors(tmp_path / "bad.ckpt").keys() == TENSORS.keys()
    assert not trace.exists()
    torch.load(tmp_path / "bad.ckpt", weights_only=False)  # the file would have done it
    assert trace.exists()


def test_section_chooses_a_mapping(tmp_path: Path) -> None:
    torch.save({"model": TENSORS, "ema": {"a": torch.zeros(1)}}, tmp_path / "w.pt")
    assert read_tensors(tmp_path / "w.pt", section="ema").keys() == {"a"}
    with pytest.raises(WeightsError, match="no mapping 'net'"):
        read_tensors(tmp_path / "w.pt", section="net")
    with pytest.raises(WeightsError, match="no named tensors"):
        read_tensors(tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_truncated_files_are_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut{suffix}"
    if suffix == ".safetensors":
        save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match=r"cut\.\w+ is truncated") as caught:
        read_tensors(path)
    assert "Download" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"<!DOCTYPE html><html>Sign in</html>", "web page"),
        (b"\x93NUMPY not a checkpoint", "truncated or no torch checkpoint"),
    ],
)
def test_other_content_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "weights.ckpt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        read_tensors(path)


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        read_tensors(tmp_path / "no.ckpt")
    with pytest.raises(WeightsError, match="is a folder"):
        read_tensors(tmp_path)
    (tmp_path / "w.onnx").write_bytes(b"x" * 100)
    with pytest.raises(WeightsError, match=r"\.safetensors, \.ckpt"):
        read_tensors(tmp_path / "w.onnx")


def test_strict_loading_reports_every_kind_of_misfit() -> None:
    linear = nn.Linear(2, 3)
    with pytest.raises(WeightsError) as caught:
        load_strict(linear, {"weight": torch.zeros(3, 4), "extra": torch.zeros(1)}, "file.ckpt")
    text = str(caught.value)
    assert "file.ckpt does not fit Linear" in text
    assert "1 missing: bias" in text and "1 unexpected: extra" in text
    assert "1 wrong shape: weight [3, 4] instead of [3, 2]" in text


def test_strict_loading_fills_also_meta_modules() -> None:
    state = nn.Linear(2, 3).state_dict()
    with torch.device("meta"):
        empty = nn.Linear(2, 3)
    half = {k: v.half() for k, v in state.items()}
    load_strict(empty, {**half, "junk.x": torch.zeros(1)}, "f", ignore=lambda k: k[:4] == "junk")
    assert empty.weight.dtype == torch.float32 and empty.weight.requires_grad
    torch.testing.assert_close(empty.weight.detach(), state["weight"], atol=1e-3, rtol=1e-3)


def test_a_flipped_byte_anywhere_is_one_clear_message(tmp_path: Path) -> None:
    path = tmp_path / "m.ckpt"
    torch.save({"a": torch.ones(3)}, path)
    whole = path.read_bytes()
    for place in range(len(whole) - 400, len(whole)):  # the archive's directory
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_tensors(path)
        except WeightsError as error:
            assert str(path) in str(error)


# ---------------------------------------------------------------- maps


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not tell")
@pytest.mark.parametrize("name", ["w.ckpt", "w.safetensors"])
def test_what_was_loaded_does_not_depend_on_the_file(name: str, tmp_path: Path) -> None:
    """A module on the meta device owns its weights: no map of the file is left."""
    tensors = {"weight": torch.randn(300, 200), "bias": torch.randn(300)}
    save_file(tensors, tmp_path / name) if name == "w.safetensors" else torch.save(
        tensors, tmp_path / name
    )
    with torch.device("meta"):
        module = torch.nn.Linear(200, 300)
    load_strict(module, read_tensors(tmp_path / name), "w")
    gc.collect()
    assert name not in Path("/proc/self/maps").read_text()
    (tmp_path / name).write_bytes(b"x")
    assert torch.equal(module.weight, tensors["weight"])
    assert module.weight.requires_grad and module.weight.is_contiguous()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
def test_pages_of_mapped_tensors_are_given_back(tmp_path: Path) -> None:
    def mapped_mib() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(s.split()[1]) // 1024 for s in lines if s.startswith("RssFile"))

    values = torch.arange(8 << 20, dtype=torch.float32)  # 32 MiB
    save_file({"a": values}, tmp_path / "w.safetensors")
    before = mapped_mib()
    mapped = read_tensors(tmp_path / "w.safetensors")["a"]
    assert torch.equal(mapped, values)
    if mapped_mib() < before + 30:
        pytest.skip("this version of safetensors copies")
    maps = FileMaps()
    maps.release(mapped)
    maps.release(values)  # not mapped: nothing happens
    assert mapped_mib() < before + 4
    assert torch.equal(mapped, values)
    assert float(values[-1]) == (8 << 20) - 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("meta", [True, False])
def test_weights_that_are_not_finite_are_refused(
    value: float, kind: torch.dtype, meta: bool
) -> None:
    with torch.device("meta" if meta else "cpu"):
        module = torch.nn.Linear(200, 300)
    tensors = {"weight": torch.full((300, 200), 6e4), "bias": torch.randn(300)}
    tensors = {name: tensor.to(kind) for name, tensor in tensors.items()}
    load_strict(module, tensors, "whole.ckpt")  # a sum of halves would be infinite
    tensors["bias"][7] = value
    with pytest.raises(WeightsError, match=r"w\.ckpt: 1 of 2 tensors .* not finite: bias"):
        load_strict(module, tensors, "w.ckpt")


def test_huge_weights_are_finite() -> None:
    module = torch.nn.Linear(2, 2)
    load_strict(module, {"weight": torch.full((2, 2), 3e38), "bias": torch.zeros(2)}, "w")
