"""Training of guidance: batches by step, learning, resuming, weights out."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from studio.app.cli import main
from studio.cameras import orbit_cameras
from studio.data.training.batches import ItemBatches, Parts
from studio.data.training.ring_views import RingBatches, RingViews, ring_batch
from studio.errors import DataError
from studio.guidance.autoencoder import build_vae, decode, encode, start_from_pca
from studio.runs.folder import RUN_VARIABLE
from studio.systems import guidance_training
from studio.systems.guidance_training import encode_ring_views, item_object, ring_object
from tests.conftest import REPOSITORY, environment

CONFIG = """
name: tiny
tag: t
use_timestamp: false
exp_root_dir: {root}
data_type: procedural
data: {{categories: [car], objects: 2, val_objects: 1, resolution: 32}}
system_type: guidance-training
system:
  guidance_type: zero123
  guidance:
    resolution: 32
    unet: {{block_out_channels: [32, 32], cross_attention_dim: 32, attention_head_dim: 2}}
    vae: {{block_out_channels: [16], latent_channels: 32}}
    clip: {{hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1, projection_dim: 32}}
    steps: 2
  cache_latents: true
  batch_size: 2
  targets: 2
  validation_objects: 1
trainer: {{max_steps: 6, accelerator: cpu, checkpoint_every: 3, threads: 1}}
"""


def ring_views() -> RingViews:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (3, 8, 16, 16, 4), dtype=np.uint8)
    return RingViews(images, orbit_cameras([45.0 * k for k in range(8)], 30.0, size=16))


def test_batches_are_a_function_of_seed_and_step() -> None:
    one = RingBatches(ring_views(), 2, 3, 5, lambda: 0)
    stream = iter(one)
    skipped = [next(stream) for _ in range(4)][3]
    resumed = next(iter(RingBatches(ring_views(), 2, 3, 5, lambda: 3)))
    other = RingBatches(ring_views(), 2, 3, 6, lambda: 0).at(3)
    assert skipped.pop("part") == resumed["part"] == 0
    for key, value in skipped.items():
        assert torch.equal(value, resumed[key])
    assert not torch.equal(skipped["images"], other["images"])


def test_processes_and_accumulated_parts_share_the_joint_batch() -> None:
    whole = RingBatches(ring_views(), 4, 3, 5, lambda: 0).at(7)
    parts = [RingBatches(ring_views(), 2, 3, 5, lambda: 0, Parts((r,), 2)).at(7, r) for r in (0, 1)]
    for key, value in whole.items():
        assert torch.equal(value, torch.cat([part[key] for part in parts]))
    one = iter(RingBatches(ring_views(), 2, 3, 5, lambda: 7, Parts.of_process(0, 1, accumulate=2)))
    for expected in parts:
        seen = next(one)
        assert torch.equal(seen["images"], expected["images"])


def test_validation_objects_of_rings_have_even_references_and_views() -> None:
    ring = replace(ring_views(), references=(2, 5), captions=("a", "b", "c"))
    pictures = ring.seen_from(1, 0).images
    found = ring_object(ring, 1, "condition", references=2, views=4)
    assert found.caption == "b"
    assert torch.equal(found.views.images, pictures[[2, 4, 6, 0]])  # from where conditions are
    assert torch.equal(found.references.images, pictures[[2, 6]])
    azimuths = found.references.cameras.spherical()[0]
    torch.testing.assert_close(azimuths % 360, torch.tensor([0.0, 180.0]), atol=1e-3, rtol=0)
    still = ring_object(ring, 1, "object", references=0, views=3)  # 3 does not divide 8
    assert torch.equal(still.views.images, pictures)
    assert torch.equal(still.references.images, pictures[[2]])
    assert torch.equal(still.references.cameras.c2w, ring.cameras.c2w[[2]])


@pytest.mark.parametrize("several", [False, True])
def test_validation_objects_of_items_are_what_the_item_holds(several: bool) -> None:
    ring = ring_views()
    batch = ring_batch(
        ring, np.array([1]), np.array([[3, 6]]), np.array([[0, 2, 4]]), posed=several
    )
    item = {key: value[0] for key, value in batch.items()}
    found = item_object(item)
    count = 2 if several else 1
    assert found.caption is None and len(found.views) == 3
    assert len(found.references) == count and found.references.mask.min() == 1
    torch.testing.assert_close(found.views.images[:, :3] * 2 - 1, item["images"])
    torch.testing.assert_close(found.references.images[0, :3] * 2 - 1, item["cond_image"])
    torch.testing.assert_close(found.references.cameras.c2w, ring.cameras.c2w[[0, 3][:count]])


def test_latents_are_encoded_once_and_read_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    vae = build_vae({"block_out_channels": [8], "norm_num_groups": 4, "latent_channels": 3})
    made = encode_ring_views(vae, ring_views(), tmp_path, batch=16)
    assert made.latents is not None and made.latents.shape == (3, 8, 3, 16, 16)
    pixels = ring_views().pixels(np.array([1]), np.array([5]))
    wanted = encode(vae, pixels)[0].half()
    torch.testing.assert_close(made.latents[1, 5], wanted, rtol=1e-2, atol=1e-3)

    def refuse(*_: Any) -> torch.Tensor:
        raise AssertionError("nothing is left to be encoded")

    monkeypatch.setattr(guidance_training, "encode_batch", refuse)
    again = encode_ring_views(vae, ring_views(), tmp_path)
    assert again.latents is not None and torch.equal(again.latents, made.latents)
    (file,) = tmp_path.glob("*.npy")
    np.save(file, np.zeros((3, 8, 3), np.float16))
    with pytest.raises(DataError, match="shape \\[3, 8, 3\\]"):
        encode_ring_views(vae, ring_views(), tmp_path)


class Items(Dataset):
    """Each item tells its index and a draw of torch's generator."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"index": index, "draw": torch.rand(()), "caption": f"object {index}"}


def test_items_are_shuffled_by_epoch_and_drawn_by_position() -> None:
    def stream(first: int, parts: Parts) -> ItemBatches:
        return ItemBatches(Items(), 2, 3, lambda: first, parts)

    torch.manual_seed(0)
    whole = [stream(0, Parts()).at(s) for s in range(5)]
    assert sorted(torch.cat([b["index"] for b in whole]).tolist()) == sorted(list(range(5)) * 2)
    torch.manual_seed(1)
    again = list(itertools.islice(iter(stream(2, Parts())), 3))
    for a, b in zip(whole[2:], again, strict=True):
        assert torch.equal(a["index"], b["index"]) and torch.equal(a["draw"], b["draw"])
        assert a["caption"] == b["caption"]
    two = [stream(0, Parts((r,), 2)).at(1, r) for r in (0, 1)]
    assert torch.equal(
        torch.cat([b["index"] for b in two]), torch.cat([b["index"] for b in whole[2:4]])
    )
    loaded = DataLoader(stream(1, Parts()), batch_size=None, num_workers=2)
    for a, b in zip(whole[1:], itertools.islice(iter(loaded), 4), strict=True):
        assert torch.equal(a["draw"], b["draw"])


def test_references_are_posed_in_the_frame_that_was_asked_for() -> None:
    ring = ring_views()
    batch = ring_batch(ring, np.array([1]), np.array([[3, 6]]), np.array([[0, 2]]), posed=True)
    assert torch.equal(batch["ref_images"][0, 0], batch["cond_image"][0])
    assert torch.equal(batch["ref_images"][0, 1], ring.pixels(np.array([1]), np.array([6]))[0])
    assert torch.equal(batch["ref_c2w"][0], ring.cameras.c2w[[0, 3]])
    still = ring_batch(
        ring, np.array([1]), np.array([[3, 6]]), np.array([[0, 2]]), posed=True, frame="object"
    )
    assert torch.equal(still["ref_images"], batch["ref_images"])
    assert torch.equal(still["ref_c2w"][0], ring.cameras.c2w[[3, 6]])
    assert torch.equal(still["images"][0, 1], ring.pixels(np.array([1]), np.array([2]))[0])
    drawn = RingBatches(ring, 4, 3, 5, lambda: 0, references=3).at(0)
    assert drawn["ref_images"].shape == (4, 3, 3, 16, 16)
    assert all(len(c.reshape(3, -1).unique(dim=0)) == 3 for c in drawn["ref_c2w"])


@pytest.mark.parametrize("frame", ["condition", "object"])
def test_copied_targets_are_references(frame: str) -> None:
    drawn = RingBatches(ring_views(), 8, 2, 5, lambda: 0, references=4, frame=frame, copied=(2, 4))
    for step in range(6):
        batch = drawn.at(step)
        same = (batch["images"][:, :, None] == batch["ref_images"][:, None]).flatten(3).all(3)
        posed = (batch["c2w"][:, :, None] == batch["ref_c2w"][:, None]).flatten(3).all(3)
        assert torch.equal(same, posed)
        assert bool((same.sum(2) == 1).all()) == (step in (2, 3))


def test_target_zero_is_the_condition_and_cameras_follow_the_ring() -> None:
    ring = ring_views()
    batch = ring_batch(ring, np.array([1]), np.array([[3]]), np.array([[0, 2]]))
    assert torch.equal(batch["images"][0, 0], batch["cond_image"][0])
    assert torch.equal(batch["images"][0, 1], ring.pixels(np.array([1]), np.array([5]))[0])
    assert torch.equal(batch["c2w"][0, 1], ring.cameras.c2w[2])
    seen = ring.seen_from(1, 3)
    white = seen.rgb_on()[2] * 2 - 1
    torch.testing.assert_close(batch["images"][0, 1], white)


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_pca_start_is_the_projection_on_principal_components(whitening: float) -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(6, 192, generator=generator)
    blocks = torch.randn(40, 16, 6, generator=generator) @ basis * 0.1
    pixels = torch.nn.functional.pixel_shuffle(blocks.reshape(40, 4, 4, 192).permute(0, 3, 1, 2), 8)
    vae = build_vae(
        {
            "in_channels": 192,
            "out_channels": 192,
            "down_block_types": ["DownEncoderBlock2D"],
            "up_block_types": ["UpDecoderBlock2D"],
            "block_out_channels": [32],
            "latent_channels": 6,
            "norm_num_groups": 1,
            "mid_block_add_attention": False,
            "scaling_factor": 1.0,
        }
    )
    start_from_pca(vae, pixels, whitening)
    with torch.no_grad():
        latents = encode(vae, pixels)
        again = decode(vae, latents)
    spread = latents.flatten(2).transpose(1, 2).flatten(0, 1).std(0)
    deviations = torch.linalg.svdvals(blocks.flatten(0, 1) - blocks.mean((0, 1)))[:6]
    expected = (deviations / deviations[0]) ** (1 - whitening)
    torch.testing.assert_close(spread / spread[0], expected, rtol=0.1, atol=0)
    error = (again - pixels.clamp(-1, 1)).square().mean() / pixels.square().mean()
    assert error < 0.02  # six components hold everything; the rest is the norms' curvature


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def run(root: str, *words: str) -> dict[str, torch.Tensor]:
        config = tmp_path / f"{root}.yaml"
        config.write_text(CONFIG.format(root=tmp_path / root))
        monkeypatch.delenv(RUN_VARIABLE, raising=False)
        assert main(["--config", str(config), "--train", *words]) == 0
        path = tmp_path / root / "tiny" / "t" / "ckpts" / "last.ckpt"
        return torch.load(path, weights_only=True)["state_dict"]

    return run


def test_resumed_training_ends_with_the_same_weights(weights, tmp_path: Path) -> None:
    def progress(root: str) -> int:
        return json.loads((tmp_path / root / "tiny/t/logs/progress.json").read_text())["step"]

    whole = weights("whole")
    weights("parts", "trainer.max_steps=3")
    assert progress("parts") == 3
    resumed = weights("parts", "resume=last")
    assert progress("parts") == progress("whole")  # it is shown, too, where an epoch goes on
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_checkpoints_hold_no_frozen_weights_but_know_them(
    weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = weights("parts", "trainer.max_steps=3")
    assert stored and not any(name.startswith("guidance.vae.") for name in stored)
    words = ["--config", str(tmp_path / "parts.yaml"), "--train", "resume=last"]
    assert main([*words, "seed=1"]) == 2  # fresh random weights of another seed
    assert "trained around other frozen weights" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_killed_training_resumes_with_the_same_weights(weights, tmp_path: Path) -> None:
    whole = weights("whole", "trainer.max_steps=60", "trainer.checkpoint_every=10")
    config = tmp_path / "killed.yaml"
    config.write_text(CONFIG.format(root=tmp_path / "killed"))
    words = ["--config", str(config), "--train", "trainer.max_steps=60"]
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "launch.py"), *words, "trainer.checkpoint_every=10"],
        env=environment({}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    saved = tmp_path / "killed" / "tiny" / "t" / "ckpts" / "last.ckpt"
    while process.poll() is None and not saved.exists():
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was over before it could be killed"
    assert 10 <= torch.load(saved, weights_only=True)["global_step"] < 60
    resumed = weights(
        "killed", "trainer.max_steps=60", "trainer.checkpoint_every=10", "resume=last"
    )
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_export_writes_weights_that_load_again(weights, tmp_path: Path) -> None:
    weights("out", "--export")
    from studio.guidance.zero123.guidance import Zero123Guidance

    folder = tmp_path / "out" / "tiny" / "t" / "export"
    assert "\n# export\n" in (folder / "README.md").read_text()
    model = Zero123Guidance.from_pretrained(folder)
    views = model.generate(_condition(), generator=torch.Generator().manual_seed(0))
    assert views.images.shape == (16, 4, 32, 32)
    assert next(model.unet.parameters()).dtype == torch.float32


def _condition():
    from studio.views import Condition

    return Condition(image=torch.rand(4, 32, 32, generator=torch.Generator().manual_seed(1)))
