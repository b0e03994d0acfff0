"""The written releases have the authors' names and layouts, and the readers take them safely."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from studio.guidance import folders, ldm
from studio.guidance.epidiff.checkpoint import official_tensors
from studio.guidance.spad import checkpoint as spad
from studio.guidance.spad import official
from studio.guidance.zero123 import official as zero123
from studio.io.weights import read_tensors
from tests.fullsize import releases, values
from tests.fullsize.archives import Lazy, write_archive
from tests.fullsize.rehearsal import CHAINS, rehearse

SMALL = 3
"""Every dimension of every tensor is cut to this."""


def test_archives_are_torchs_own(tmp_path: Path) -> None:
    named = {n: values.Values(n, (5, 7)) for n in ("a.weight", "b.bias")}
    half = values.Values("c.weight", (33,), torch.float16)
    content = {k: Lazy(v) for k, v in {**named, "c.weight": half}.items()}
    write_archive(tmp_path / "w.ckpt", {"state_dict": content, "step": 3})
    for mmap in (False, True):
        read = torch.load(tmp_path / "w.ckpt", weights_only=True, mmap=mmap)
        assert read["step"] == 3
        for name, made in {**named, "c.weight": half}.items():
            tensor = read["state_dict"][name]
            assert torch.equal(tensor, made.make())
            assert tensor.dtype is made.dtype and tensor.data_ptr() % 64 == 0


def test_random_numbers_are_a_function_of_the_name() -> None:
    weight = values.Values("x.weight", (64, 100))
    assert torch.equal(weight.make(), weight.make())
    assert 0.09 < float(weight.make().std()) < 0.11
    assert float(values.Values("norm.weight", (8,)).make().min()) == 1


@pytest.mark.parametrize("views", ["two", "four"])
def test_spad(views: str, tmp_path: Path) -> None:
    path = releases.write_spad(tmp_path, views, SMALL)
    assert_foreign(path, "omegaconf")
    tensors = read_tensors(path)
    assert tensors.keys() == values.released_shapes(f"spad/spad_{views}_views").keys()
    found = official.convert(tensors, 2, 4, ema=True, source=str(path))
    assert set(found) == set(spad.PARTS)
    assert_averaged(tensors)


def test_epidiff(tmp_path: Path) -> None:
    path = releases.write_epidiff(tmp_path, SMALL)
    assert_foreign(path, "epidiff|omegaconf")
    kept, left_out = official_tensors(read_tensors(path))
    names = values.released_shapes("epidiff/epidiff_lightning_ckpt").keys()
    assert len(kept) + len(left_out["dead"]) == len(names)
    optional = values.released_shapes("epidiff/epidiff_lightning_ckpt_optional").keys()
    assert set(left_out["optional"]) == set(optional)


def test_eschernet(tmp_path: Path) -> None:
    root = releases.write_eschernet(tmp_path, "6dof", SMALL)
    assert len([p for p in root.rglob("*") if p.is_file()]) == 8
    names = set()
    for part in ("unet", "vae", "image_encoder"):
        names |= {f"{part}/{name}" for name in folders.read_weights(root / part)}
    assert names == set(values.released_shapes("eschernet/released"))


def test_zero123(tmp_path: Path) -> None:
    path = releases.write_zero123(tmp_path, SMALL)
    assert_foreign(path, "pytorch_lightning")
    tensors = read_tensors(path)
    assert tensors.keys() == values.released_shapes("viewfusion_interpolated/zero123-xl").keys()
    found = zero123.convert(tensors, 2, 4, ema=True, source=str(path))
    assert len(found) == 4
    assert_averaged(tensors)


def test_zero123_folder(tmp_path: Path) -> None:
    root = releases.write_zero123_folder(tmp_path, SMALL)
    tensors = folders.read_weights(root / "unet", variant="fp16_ema")
    assert len(tensors) == 686 and {t.dtype for t in tensors.values()} == {torch.float16}


def test_composable(tmp_path: Path) -> None:
    path = releases.write_composable(tmp_path, SMALL)
    tensors = read_tensors(path, section="model")
    shapes = values.released_shapes("viewfusion_composable/pretrained")
    assert tensors.keys() == shapes.keys()
    assert torch.load(path, weights_only=True)["it"] == 710000


def assert_foreign(path: Path, library: str) -> None:
    """The file holds objects of a library, which a plain weights-only reader refuses."""
    with pytest.raises(pickle.UnpicklingError, match=library):
        torch.load(path, weights_only=True)


def assert_averaged(tensors: dict[str, torch.Tensor]) -> None:
    """The running averages can be told from the last weights."""
    key = f"{ldm.UNET}out.2.weight"
    assert not torch.equal(tensors[ldm.ema_key(key)], tensors[key])


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_official_chain(name: str, tmp_path: Path) -> None:
    """Needs 20 GB of disk, 13 GB of memory and a few minutes for each."""
    assert rehearse(name, tmp_path, limit=13.0).fault == ""
