"""EpiDiff: geometry, blocks, guidance, weights."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from studio.cameras import Cameras, orbit_cameras
from studio.config import parse_config, plain
from studio.errors import ConfigError, WeightsError
from studio.guidance.epidiff import conditioning as cond
from studio.guidance.epidiff import geometry as geo
from studio.guidance.epidiff import near_views as sets
from studio.guidance.epidiff.checkpoint import official_tensors
from studio.guidance.epidiff.guidance import EpiDiffGuidance
from studio.guidance.epidiff.network import BlockOptions, EpipolarBlock, MVModel, sample_map
from studio.views import Condition
from tests.parity import epidiff as parity
from tests.parity.case import load_case

CASES = Path(__file__).parents[1] / "parity" / "cases" / "epidiff"
TINY = {
    "unet": {
        "in_channels": 16,
        "out_channels": 8,
        "block_out_channels": [32, 64],
        "layers_per_block": 1,
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "norm_num_groups": 8,
    },
    "vae": {"latent_channels": 8, "block_out_channels": [16]},
    "clip": {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": 16,
    },
}


def tiny(**options: object) -> EpiDiffGuidance:
    torch.manual_seed(0)
    given = {"zero123": TINY, "head_width": 32, "n_samples": 4, "steps": 2, "views": 6, **options}
    return EpiDiffGuidance(parse_config(EpiDiffGuidance.Config, given)).eval()


def wake(model: torch.nn.Module) -> None:
    """Replace the zero start of the blocks by noise."""
    for block in model.modules():
        if isinstance(block, EpipolarBlock):
            torch.nn.init.normal_(block.T1.proj_out.weight, std=0.2)
            torch.nn.init.normal_(block.t1_point_fc.weight, std=0.2)


def ring_set(views: int, k: int, **options: object) -> sets.CameraSet:
    cameras = orbit_cameras([i * 360 / views for i in range(views)], 30.0, size=1)
    c2w = cameras.c2w[None]
    near = sets.near_views(*cond.viewing_angles(c2w), k)
    intrinsics = sets.square_intrinsics(cameras.intrinsics[None])
    return sets.CameraSet(intrinsics, c2w, near, geo.RayOptions(**options))


def ring_batch(objects: int, views: int, latent: int = 8) -> dict[str, Tensor]:
    cameras = orbit_cameras([i * 360 / views for i in range(views)], 30.0, size=64)
    generator = torch.Generator().manual_seed(3)
    return {
        "latents": torch.randn(objects, views, latent, 8, 8, generator=generator),
        "cond_latents": torch.randn(objects, latent, 8, 8, generator=generator),
        "cond_image": torch.rand(objects, 3, 64, 64, generator=generator) * 2 - 1,
        "c2w": cameras.c2w.expand(objects, -1, -1, -1),
        "cond_c2w": cameras.c2w[:1].expand(objects, -1, -1),
        "intrinsics": cameras.intrinsics.expand(objects, -1, -1, -1),
    }


# ------------------------------------------------------------------ geometry


def test_samples_land_on_the_true_correspondence() -> None:
    """A map that holds pixel positions, sampled in a near view, says where a known point is."""
    side, views = 16, 8
    rig = ring_set(views, 3, ray_start=1.0, ray_end=2.0, n_samples=101)
    table = rig.at(side)
    centres = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    position = torch.stack([x, y], -1).reshape(1, -1, 2).expand(views, -1, -1)
    sampled = sample_map(
        position,
        table.corners[0],
        table.weights[0],
        table.neighbours[0, :, None, :, None].expand(table.corners.shape[1:-1]),
    )
    cameras = Cameras(rig.c2w[0], rig.intrinsics[0, :, :3, :3], (1, 1))
    for point in torch.tensor([[0.1, -0.2, 0.15], [-0.25, 0.1, -0.1], [0.0, 0.3, 0.0]]):
        uv = cameras.project(point[None])[0][:, 0]
        for view in (0, 3, 6):
            ray = int(uv[view, 1] * side) * side + int(uv[view, 0] * side)
            for slot in (1, 2):
                expected = uv[table.neighbours[0, view, slot]]
                miss = (sampled[view, ray, slot] - expected).norm(dim=-1).min()
                assert miss < 1.0 / side  # within a pixel: the ray goes through a pixel's centre


def test_swapped_axes_miss_it() -> None:
    """The released layout does not, which is why it is an option of its own."""
    side = 16
    rig = ring_set(8, 3, ray_start=1.0, ray_end=2.0, n_samples=101, ray_axes="swapped")
    table = rig.at(side)
    cameras = Cameras(rig.c2w[0], rig.intrinsics[0, :, :3, :3], (1, 1))
    misses = []
    for point in torch.tensor([[0.1, -0.2, 0.15], [-0.25, 0.1, -0.1], [0.0, 0.3, 0.0]]):
        uv = cameras.project(point[None])[0][:, 0]
        ray = int(uv[0, 1] * side) * side + int(uv[0, 0] * side)
        expected = uv[table.neighbours[0, 0, 1]]
        misses.append(((table.points[0, 0, 1, ray] + 1) / 2 - expected).norm(dim=-1).min())
    assert max(misses) > 2.0 / side


@pytest.mark.parametrize("align_corners", [True, False])
def test_sample_map_is_grid_sample(align_corners: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 5, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    points = torch.rand(3, 40, 2, generator=generator, dtype=torch.float64) * 3 - 1.5
    expected = F.grid_sample(
        maps, points[:, None], padding_mode="border", align_corners=align_corners
    )[:, :, 0].transpose(1, 2)
    corners, weights = geo.corner_table(points, 8, "image", align_corners)
    which = torch.arange(3)[:, None].expand(3, 40)
    got = sample_map(maps.flatten(2).transpose(1, 2), corners, weights, which)
    torch.testing.assert_close(got, expected)
    first = torch.autograd.grad(expected.square().sum(), maps, retain_graph=True)[0]
    second = torch.autograd.grad(got.square().sum(), maps)[0]
    torch.testing.assert_close(first, second)


def test_near_views_wrap_around_on_the_sphere_only() -> None:
    azimuth = torch.deg2rad(torch.arange(16) * 22.5)
    elevation = torch.full((16,), 0.5)
    sphere = sets.near_views(elevation, azimuth, 3)
    plane = sets.near_views(elevation, azimuth, 3, "plane")
    assert set(sphere[0].tolist()) == {0, 1, 15}
    assert plane[0].tolist() == [0, 1, 2]
    assert sphere[:, 0].tolist() == list(range(16))
    assert sphere[4].tolist() == [4, 3, 5]  # ties: the lower index first


def test_geometry_of_a_rig_is_computed_once() -> None:
    rig = ring_set(6, 3)
    assert rig.at(4) is rig.at(4)
    assert rig.at(4).mask.shape == (1, 6, 3, 16, 8)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="ray_axes"):
        geo.RayOptions(ray_axes="mirrored")
    with pytest.raises(ConfigError, match="k_near_views"):
        sets.near_views(torch.zeros(4), torch.zeros(4), 5)
    with pytest.raises(ConfigError, match="insert_up_layers"):
        tiny(insert_up_layers=[2])


# ------------------------------------------------------------------ blocks


@pytest.mark.parametrize("kind", ["feature_aggregator", "feature_aggregator_k"])
def test_fast_arithmetic_matches_the_released_block(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "ARITHMETIC", "fast")
    case = load_case(CASES / kind)
    out = parity.CASES[kind](case)["out"]
    expected = load_file(CASES / kind / "outputs.safetensors")["out"]
    torch.testing.assert_close(out, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("positions", [("abs",), ("abs", "ref")])
@pytest.mark.parametrize("features", ["own", "gather"])
def test_fast_and_reference_agree_with_gradients(positions: tuple[str, ...], features: str) -> None:
    torch.manual_seed(1)
    options = BlockOptions(2, True, positions, features, 32, 24)
    fast = EpipolarBlock(64, options).double()
    wake(fast)
    slow = EpipolarBlock(64, dataclasses.replace(options, arithmetic="reference")).double()
    slow.load_state_dict(fast.state_dict())
    table = dataclasses.replace(ring_set(5, 3, n_samples=3), with_reference=True).at(4)
    table = dataclasses.replace(
        table, query=table.query.double(), reference=table.reference.double()
    )
    images = torch.randn(5, 64, 4, 4, dtype=torch.float64)
    t_emb = torch.randn(5, 24, dtype=torch.float64)
    a, b = fast(images, table, t_emb), slow(images, table, t_emb)
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)  # projections are float32
    assert a.std() > 0.01
    for out in (a, b):
        out.square().sum().backward()
    for p, q in zip(fast.parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, atol=1e-5 * float(q.grad.abs().max()), rtol=1e-3)


def test_chunks_of_rays_and_shared_rigs_change_nothing() -> None:
    torch.manual_seed(1)
    block = EpipolarBlock(64, BlockOptions(1, True, head_width=32, time_width=24))
    wake(block)
    table = ring_set(5, 3).at(4)
    images, t_emb = torch.randn(10, 64, 4, 4), torch.randn(10, 24)
    with torch.no_grad():
        whole = block(images, table, t_emb)
        block.options = dataclasses.replace(block.options, ray_chunk=5)
        torch.testing.assert_close(block(images, table, t_emb), whole)
        halves = [block(images[i : i + 5], table, t_emb[i : i + 5]) for i in (0, 5)]
        torch.testing.assert_close(torch.cat(halves), whole)


@pytest.mark.parametrize(("features", "crosses"), [("gather", True), ("own", False)])
def test_only_gather_carries_information_between_views(features: str, crosses: bool) -> None:
    model = tiny(neighbour_features=features, insert_stages=["mid"])
    wake(model)
    x, t = torch.randn(6, 16, 8, 8), torch.full((6,), 300)
    context, rig = torch.randn(6, 1, 16), ring_set(6, 3)
    changed = x.clone()
    changed[2] += 1
    with torch.no_grad():
        difference = model.mv_model(changed, t, context, rig) - model.mv_model(x, t, context, rig)
    assert difference[2].abs().max() > 1e-3
    assert (difference[1].abs().max() > 0) == crosses
    assert difference[5].abs().max() == 0  # three views away: no near view of it


@pytest.mark.parametrize("stages", [["mid", "up"], ["down", "mid", "up"]])
def test_untrained_blocks_leave_the_base_exactly_as_it_is(stages: list[str]) -> None:
    model = tiny(insert_stages=stages)
    x, t = torch.randn(6, 16, 8, 8), torch.full((6,), 300)
    context = torch.randn(6, 1, 16)
    with torch.no_grad():
        ours = model.mv_model(x, t, context, ring_set(6, 3))
        assert torch.equal(ours, model.mv_model.unet(x, t, context).sample)
    replaced = tiny(insert_stages=stages, use_residual=False)
    with torch.no_grad():
        assert not torch.allclose(replaced.mv_model(x, t, context, ring_set(6, 3)), ours)


# ------------------------------------------------------------------ guidance


def test_training_lowers_the_loss_and_touches_the_blocks_only() -> None:
    model = tiny()
    groups = model.trainable_parameters()
    trained = {id(p) for g in groups for p in g["params"]}
    before = {n: p.clone() for n, p in model.named_parameters() if id(p) not in trained}
    assert all(n.startswith("mv_model.cp_blocks") == p.requires_grad
               for n, p in model.named_parameters())  # fmt: skip
    optimiser = torch.optim.AdamW(groups[0]["params"], lr=3e-3)
    losses = []
    for _ in range(8):
        result = model.training_loss(ring_batch(2, 6), generator=torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        result["loss"].backward()
        optimiser.step()
        losses.append(float(result["loss"].detach()))
    assert losses[-1] < 0.95 * losses[0]
    after = dict(model.named_parameters())
    assert all(torch.equal(after[n], value) for n, value in before.items())


def test_drops_of_the_condition() -> None:
    """Right: token and latents, object by object; released: latents of the whole batch."""
    batch = ring_batch(2, 6)
    for settings, kept_token in (("right", 0.0), ("released", 1.0)):
        model = tiny(settings=settings)
        seen: dict[str, Tensor] = {}
        model.mv_model.register_forward_hook(
            lambda _m, inputs, _y, seen=seen: seen.update(x=inputs[0], token=inputs[2])
        )
        rig = model.camera_sets.make(batch["intrinsics"] / 64, batch["c2w"], batch["cond_c2w"])
        drop = torch.tensor([0.9, 0.0] if settings == "right" else [0.0])
        model.denoising_loss(
            batch["latents"],
            batch["cond_latents"],
            torch.ones(2, 6, 1, 16),
            rig,
            torch.tensor([10, 20]),
            torch.zeros_like(batch["latents"]),
            drop,
        )
        latents = seen["x"][:, 8:].unflatten(0, (2, 6))
        assert latents[1].abs().max() == 0
        assert (latents[0].abs().max() > 0) == (settings == "right")
        assert seen["token"].unflatten(0, (2, 6))[1].max() == kept_token


def test_geometry_follows_the_condition_not_the_world() -> None:
    """Turning condition and targets together changes nothing in the right setting."""
    model = tiny()
    wake(model)
    batch = ring_batch(1, 6)
    angle = torch.tensor(0.7)
    turn = torch.eye(4)
    turn[0, 0] = turn[1, 1] = angle.cos()
    turn[0, 1], turn[1, 0] = -angle.sin(), angle.sin()
    turned = {**batch, "c2w": turn @ batch["c2w"], "cond_c2w": turn @ batch["cond_c2w"]}
    losses = [
        model.training_loss(b, generator=torch.Generator().manual_seed(0))["prediction"]
        for b in (batch, turned)
    ]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-4, rtol=1e-3)


def test_generate_makes_the_ring_and_repeats() -> None:
    model = tiny()
    wake(model)
    condition = Condition(image=torch.rand(4, 40, 40, generator=torch.Generator().manual_seed(0)))
    calls: list[tuple[int, int]] = []
    views = model.generate(
        condition,
        generator=torch.Generator().manual_seed(1),
        progress=lambda done, of: calls.append((done, of)),
    )
    assert calls == [(1, 2), (2, 2)]
    assert views.images.shape == (6, 4, 64, 64)
    azimuth, elevation, _ = views.cameras.spherical()
    torch.testing.assert_close(azimuth, torch.arange(6) * 60.0, atol=1e-3, rtol=0)
    torch.testing.assert_close(elevation, torch.full((6,), 30.0), atol=1e-3, rtol=0)
    model.cfg.batched_guidance = False
    again = model.generate(condition, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(again.rgb_on(), views.rgb_on(), atol=1e-3, rtol=0)


def test_a_base_that_attends_to_patches() -> None:
    model = tiny(zero123={**TINY, "picture_tokens": "patches"})
    batch = ring_batch(1, 6)
    model.training_loss(batch, generator=torch.Generator().manual_seed(0))["loss"].backward()
    pose = torch.zeros(1, 6, 4)
    pieces = model.tokens(batch["cond_image"], pose)
    assert pieces.shape == (1, 6, 1 + 64, 16)
    torch.testing.assert_close(pieces[:, :, :1], tiny().tokens(batch["cond_image"], pose))
    condition = Condition(image=torch.rand(4, 40, 40, generator=torch.Generator().manual_seed(0)))
    assert model.generate(condition).images.shape == (6, 4, 64, 64)


def test_pose_of_the_two_signs() -> None:
    cameras = orbit_cameras([0.0, 90.0], [30.0, 50.0])
    c2w, eye = cameras.c2w[None], cameras.c2w[:1]
    right = tiny().camera_sets.pose_numbers(c2w, eye)[0, 1]
    other = tiny(settings="released", fourth_number="abs_elevation")
    released = other.camera_sets.pose_numbers(c2w, eye)[0, 1]
    step = torch.deg2rad(torch.tensor(20.0))
    torch.testing.assert_close(right, torch.tensor([-step, 1.0, 0.0, 0.0]), atol=1e-5, rtol=0)
    expected = torch.tensor([step, 1.0, 0.0, torch.deg2rad(torch.tensor(30.0))])
    torch.testing.assert_close(released, expected, atol=1e-5, rtol=0)


def test_rig_of_the_released_script_has_whole_degrees() -> None:
    released, exact = (cond.ring(16, 30.0, truncated=t).cameras(64) for t in (True, False))
    torch.testing.assert_close(released.spherical()[0][3], torch.tensor(67.0))
    torch.testing.assert_close(exact.spherical()[0][3], torch.tensor(67.5))


# ------------------------------------------------------------------ weights


def test_folder_holds_the_blocks_and_the_way_to_the_base(tmp_path: Path) -> None:
    first = tiny()
    first.save_pretrained(tmp_path / "whole", full=True)
    model = EpiDiffGuidance.from_pretrained(tmp_path / "whole")
    wake(model)
    model.save_pretrained(tmp_path / "blocks")
    assert json.loads((tmp_path / "blocks/config.json").read_text())["base"] == "../whole/base"
    assert not (tmp_path / "blocks/base").exists()
    names = load_file(tmp_path / "blocks/blocks.safetensors")
    assert all(name.startswith("cp_blocks_") for name in names)
    loaded = EpiDiffGuidance.from_pretrained(tmp_path / "blocks")
    built = EpiDiffGuidance(EpiDiffGuidance.Config(weights=str(tmp_path / "blocks"), steps=3))
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
        assert torch.equal(built.state_dict()[name], value)
    assert built.cfg.steps == 3
    assert built.cfg.n_samples == 4
    with pytest.raises(WeightsError, match=r"blocks\.safetensors"):
        EpiDiffGuidance.from_pretrained(tmp_path)


def released_keys(name: str) -> dict[str, list[int]]:
    with gzip.open(CASES / f"{name}.keys.json.gz", "rt") as file:
        return json.load(file)


@pytest.fixture(scope="module")
def full_size() -> EpiDiffGuidance:
    options = {
        "settings": "released",
        "zero123": {"size": "full", "resolution": 256, "prediction_type": "epsilon"},
        "insert_up_layers": [0, 1, 2, 3],
        "depth": 2,
        "k_near_views": 16,
    }
    with torch.device("meta"):
        return EpiDiffGuidance(parse_config(EpiDiffGuidance.Config, options))


def test_full_size_model_takes_every_released_key(full_size: EpiDiffGuidance) -> None:
    keys = released_keys("epidiff_lightning_ckpt")
    optional = released_keys("epidiff_lightning_ckpt_optional")
    tensors = {k: torch.empty(s, device="meta") for k, s in {**keys, **optional}.items()}
    kept, left_out = official_tensors(tensors)
    assert sorted(left_out["optional"]) == sorted(optional)
    assert left_out["dead"] == []
    assert all(v.is_meta for v in full_size.state_dict().values())  # 7 GB otherwise
    own = {k: list(v.shape) for k, v in full_size.state_dict().items()}
    assert own == {k: list(v.shape) for k, v in kept.items()}
    assert len(own) == 1603


def test_official_file_is_read_whole_or_refused(tmp_path: Path) -> None:
    source, target = tiny(), tiny()
    wake(source)
    official = {k.replace("mv_model.", "mv_model._orig_mod."): v.clone()
                for k, v in source.state_dict().items()}  # fmt: skip
    official["val_lpips.0.net.lin0.model.1.weight"] = torch.zeros(1)
    official["mv_model.cp_blocks_mid.0.HW.proj_in.weight"] = torch.zeros(1)
    official = {k.replace("camera_projection.proj.", "camera_projection.projection."): v
                for k, v in official.items()}  # fmt: skip
    save_file(official, tmp_path / "epidiff.safetensors")
    report = target.load_official(tmp_path / "epidiff.safetensors")
    assert (len(report["optional"]), len(report["dead"])) == (1, 1)
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value)
    official.pop("mv_model._orig_mod.cp_blocks_mid.0.t1_point_fc.weight")
    save_file(official, tmp_path / "short.safetensors")
    with pytest.raises(WeightsError, match="t1_point_fc"):
        target.load_official(tmp_path / "short.safetensors")


def test_the_authors_file_wants_no_base_and_takes_none_of_its_weights(tmp_path: Path) -> None:
    source = tiny()
    wake(source)
    save_file({k: v.clone() for k, v in source.state_dict().items()}, tmp_path / "e.safetensors")
    other = tiny()
    for parameter in other.parameters():
        parameter.data.add_(1)
    other.save_pretrained(tmp_path / "other", full=True)
    options = {**plain(source.cfg), "weights": str(tmp_path / "e.safetensors")}
    with pytest.raises(ConfigError, match="describe no network"):
        EpiDiffGuidance(parse_config(EpiDiffGuidance.Config, options))  # TINY is a change of nano
    options["zero123"] = {"size": "nano", **TINY}
    for base in ("", str(tmp_path / "other" / "base")):
        read = EpiDiffGuidance(parse_config(EpiDiffGuidance.Config, {**options, "base": base}))
        for name, value in source.state_dict().items():
            assert torch.equal(read.state_dict()[name], value), name


def test_blocks_sit_in_any_unet_without_change() -> None:
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=8,
        attention_head_dim=4,
    ).eval()
    model = MVModel(unet, BlockOptions(), stages=(), up_layers=())
    x, t, context = torch.randn(3, 4, 8, 8), torch.tensor([1, 2, 3]), torch.randn(3, 1, 8)
    with torch.no_grad():
        torch.testing.assert_close(model(x, t, context, ring_set(3, 2)), unet(x, t, context).sample)
