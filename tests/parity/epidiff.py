"""Parity of EpiDiff."""

from __future__ import annotations

import math

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from studio.data.training.epidiff_layout import official_item, read_index
from studio.guidance.autoencoder import decode, encode
from studio.guidance.epidiff import conditioning as cond
from studio.guidance.epidiff import geometry as geo
from studio.guidance.epidiff import near_views as sets
from studio.guidance.epidiff.checkpoint import load_block, load_official_tensors
from studio.guidance.epidiff.guidance import EpiDiffGuidance
from studio.guidance.epidiff.network import BlockOptions, EpipolarBlock, EpipolarBlockK, MVModel
from studio.guidance.zero123.network import CLIP_MEAN, CLIP_STD
from tests.parity.case import Adapter, Case
from tests.parity.settings import Settings

ARITHMETIC = "reference"
"""The released order of operations; the unit tests hold "fast" against the cases as well."""
SMALL_UNET = {
    "sample_size": 8,
    "block_out_channels": [32, 32],
    "down_block_types": ["DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": 2,
}


def _rays(options: Settings) -> geo.RayOptions:
    options.about("resolution", "box_warp")  # of the picture, and of a volume that is not there
    return geo.RayOptions(
        options.get("ray_start", 0.5),
        options.get("ray_end", 2.8),
        options.get("n_samples", 8),
        options.get("disparity_space_sampling", False),
        ray_axes="swapped",
        align_corners=True,
    )


def _block(config: Settings) -> BlockOptions:
    config.only(use_fhw_attn=False, embed_dim=6 * (2 * geo.OCTAVES + 1))
    return BlockOptions(
        config.get("depth", 2),
        config.get("use_resnet", True),
        tuple(p for p in ("abs", "ref") if p in config.get("pos_encs", ["abs"])),
        "own",
        config.get("d_head", 64),
        config.get("time_embed_dim", 1280),
        arithmetic=ARITHMETIC,
    )


def epipolar(case: Case) -> dict[str, Tensor]:
    """Rays, sample points, masks and embeddings; nearest views; the harmonic embedding."""
    given, config = case.inputs, case.config
    intrinsics, c2w = sets.unpack_cameras(given["cameras"])
    near = sets.near_views(given["elevations"], given["azimuths"], config["k_near_views"], "plane")
    octaves = config.get("n_harmonic_functions", geo.OCTAVES)
    config.only(omega0=1.0, append_input=True)
    out = {
        "k_near_indices": near,
        "harmonic_out": geo.harmonic_embedding(given["harmonic_in"], octaves),
    }
    if "knn_test" in config:
        k, g = config["knn_test"]["k"], config["knn_test"].get("add_global_k", 0)
        angles = given["knn_elevations"], given["knn_azimuths"]
        out["knn_test_indices"] = sets.near_views(*angles, k, "plane")
        out["knn_test_indices_global"] = sets.near_views(*angles, k, "plane", g)
    for run in config["runs"]:
        side, tag, rays = run["resolution"], run["tag"], _rays(run)
        table = sets.CameraSet(intrinsics, c2w, near, rays, with_reference=True).at(side)
        origins, directions = geo.feature_rays(intrinsics, c2w, side, rays.ray_axes)
        sub = run.get("sub_rays", list(range(side * side)))
        query = table.query.expand(-1, -1, near.shape[-1], -1, -1, -1)
        out |= {
            f"{tag}.ray_origins": origins,
            f"{tag}.ray_directions": directions,
            f"{tag}.projected_points": table.points,
            f"{tag}.mask": table.mask,
            f"{tag}.query_plucker_sub": query[:, :, :, sub],
            f"{tag}.reference_plucker_sub": table.reference[:, :, :, sub],
            f"{tag}.sample_depths": table.depths,
        }
    return out


def _given_geometry(case: Case) -> geo.EpipolarGeometry:
    given, config = case.inputs, case.config
    config.about("f_views", "k_near_views")  # of the inputs
    config.only(n_heads=config["dim"] // config.get("d_head", 64))
    return geo.assemble(
        given["projected_points"],
        given["mask"],
        given["query_plucker"],
        given.get("reference_plucker"),
        given["k_near_indices"],
        given["images"].shape[-1],
        _rays(config),
    )


@torch.no_grad()
def feature_aggregator(case: Case) -> dict[str, Tensor]:
    """One epipolar block."""
    block = EpipolarBlock(case.config["dim"], _block(case.config)).eval()
    load_block(block, case.weights, case.folder)
    caught: dict[str, Tensor] = {}
    block.T1.proj_out.register_forward_hook(lambda _m, _i, y: caught.update(T1_out=y.flatten(0, 1)))
    if case.config.get("use_resnet", True):
        block.resnet1.register_forward_hook(lambda _m, _i, y: caught.update(feature_after_resnet=y))
    out = block(case.inputs["images"], _given_geometry(case), case.inputs["t_emb"])
    return {"out": out, **caught}


@torch.no_grad()
def feature_aggregator_k(case: Case) -> dict[str, Tensor]:
    """The variant block."""
    block = EpipolarBlockK(case.config["dim"], _block(case.config)).eval()
    load_block(block, case.weights, case.folder)
    return {"out": block(case.inputs["images"], _given_geometry(case), case.inputs["t_emb"])}


@torch.no_grad()
def mv_model(case: Case) -> dict[str, Tensor]:
    """The UNet with epipolar blocks, and the UNet alone."""
    config, given = case.config, case.inputs
    config.about("k_near_views")  # of the inputs
    model = MVModel(
        UNet2DConditionModel(**config["unet"].all()),
        _block(config["cp_block"]),
        tuple(config["mv_model"]["insert_stages"]),
        tuple(config["mv_model"].get("insert_up_layers", ())),
        config["mv_model"].get("use_residual", False),
    ).eval()
    load_block(model, case.weights, case.folder)
    with_reference = "ref" in config["cp_block"].get("pos_encs", ["abs"])
    intrinsics, c2w = sets.unpack_cameras(given["cameras"])
    rig = sets.CameraSet(
        intrinsics, c2w, given["k_near_indices"], _rays(config["render_options"]), with_reference
    )
    out: dict[str, Tensor] = {}
    for name, block in model.inserted().items():
        block.register_forward_hook(lambda _m, _i, y, n=name: out.update({f"{n}.out": y}))
    batch = given["latents"].shape[:2]
    latents, t, context = (given[n].flatten(0, 1) for n in ("latents", "timestep", "prompt_embd"))
    out["sample"] = model(latents, t, context, rig).unflatten(0, batch)
    out["plain_unet_sample"] = model.unet(latents, t, context).sample.unflatten(0, batch)
    return out


def _check_fixed(config: Settings, scheduler: Settings) -> None:
    """Refuse what the guidance cannot be told: another scheduler, another picture processor."""
    scheduler.only(trained_betas=None, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    scheduler.only(thresholding=False)
    scheduler.about("dynamic_thresholding_ratio", "clip_sample_range", "sample_max_value")
    processor, side = config["image_processor"], config["image_encoder"]["image_size"]
    processor.only(do_resize=True, do_center_crop=True, do_rescale=True, do_normalize=True)
    processor.only(resample=3, rescale_factor=1 / 255, do_convert_rgb=True)
    processor.only(image_mean=list(CLIP_MEAN), image_std=list(CLIP_STD))
    processor["size"].only(shortest_edge=side)
    processor["crop_size"].only(height=side, width=side)


def _guidance(case: Case) -> EpiDiffGuidance:
    """Build the guidance of a case and load its weights; parts that the case omits stay random."""
    config = case.config
    names = ("cp_block", "mv_model", "render_options", "scheduler")
    block, insert, rays, scheduler = (config.get(name, Settings({})) for name in names)
    config.about("base_model_id", "projection")
    _check_fixed(config, scheduler)
    block.only(use_fhw_attn=False, embed_dim=6 * (2 * geo.OCTAVES + 1))
    block.only(time_embed_dim=config["unet"]["time_embedding_dim"] if "unet" in config else 1280)
    rays.about("resolution", "box_warp")
    latent, width = config["vae"]["latent_channels"], config["image_encoder"]["projection_dim"]
    small = {"in_channels": 2 * latent, "out_channels": latent, "cross_attention_dim": width}
    options = EpiDiffGuidance.Config(
        settings="released",
        zero123={
            "size": "full",
            "unet": config["unet"].all() if "unet" in config else {**SMALL_UNET, **small},
            "vae": config["vae"].all(),
            "clip": config["image_encoder"].all(),
            "resolution": config["vae"]["sample_size"],
            "prediction_type": scheduler.get("prediction_type", "epsilon"),
            "beta_schedule": scheduler.get("beta_schedule", "scaled_linear"),
            "beta_start": scheduler.get("beta_start", 0.00085),
            "beta_end": scheduler.get("beta_end", 0.012),
            "train_timesteps": scheduler.get("num_train_timesteps", 1000),
            "zero_terminal_snr": scheduler.get("rescale_betas_zero_snr", False),
            "train_clip": False,
        },
        insert_stages=list(insert.get("insert_stages", [])),
        insert_up_layers=list(insert.get("insert_up_layers", [])),
        use_residual=insert.get("use_residual", False),
        depth=block.get("depth", 2),
        use_resnet=block.get("use_resnet", True),
        arithmetic=ARITHMETIC,
        pos_encs=list(block.get("pos_encs", ["abs"])),
        head_width=block.get("d_head", 64),
        k_near_views=config.get("k_near_views", 16),
        ray_start=rays.get("ray_start", 0.5),
        ray_end=rays.get("ray_end", 2.8),
        n_samples=rays.get("n_samples", 8),
        disparity_space_sampling=rays.get("disparity_space_sampling", False),
        condition_dropout=config.get("cfg_drop_prob", 0.1),
        steps=config.get("diffusion_timesteps", 50),
        guidance_scale=config.get("guidance_scale", 3.0),
        timestep_spacing=scheduler.get("timestep_spacing", "leading"),
    )
    model = EpiDiffGuidance(options).eval()
    present = tuple({name.split(".")[0] + "." for name in case.weights} - {"vae."})
    present += tuple({".".join(n.split(".")[:2]) + "." for n in case.weights if n[:4] == "vae."})
    omitted = {k: v for k, v in model.state_dict().items() if not k.startswith(present)}
    load_official_tensors(model, {**omitted, **case.weights}, case.folder)
    return model


def _pose(case: Case) -> Tensor:
    given = case.inputs
    azimuth = given["azimuths"]
    numbers = [given["elevations"], azimuth.sin(), azimuth.cos(), given["distances"]]
    return torch.cat(numbers, dim=-1)


def _rig(model: EpiDiffGuidance, case: Case) -> sets.CameraSet:
    intrinsics, c2w = sets.unpack_cameras(case.inputs["cameras"])
    return model.camera_sets.given(intrinsics, c2w, case.inputs["k_near_indices"])


@torch.no_grad()
def conditioning(case: Case) -> dict[str, Tensor]:
    """Token and condition latents of a picture."""
    model, pose, image = _guidance(case), _pose(case), case.inputs["image_0"]
    latents = model.condition_latents(image, case.inputs["vae_noise_cond"])
    pixels = model.prepare_clip(image)
    return {
        "latent_image": latents[:, None].expand(-1, pose.shape[1], -1, -1, -1),
        "prompt_embeds": model.tokens(image, pose),
        "vae_moments_cond": model.vae.encode(image).latent_dist.parameters,
        "pixel_values": pixels,
        "image_embeds": model.image_encoder(pixel_values=pixels).image_embeds,
        "camera_embedding": pose[:, :, None],
    }


@torch.no_grad()
def sample(case: Case) -> dict[str, Tensor]:
    """The denoising loop and the decoded pictures."""
    model, given = _guidance(case), case.inputs
    concat = model.condition_latents(given["image_0"], given["vae_noise_cond"])
    steps: list[dict[str, Tensor]] = []
    latents = model.sample(
        model.tokens(given["image_0"], _pose(case)),
        concat,
        _rig(model, case),
        given["init_latents"],
        model.plan(),
        on_step=lambda _step, tensors: steps.append(tensors),
    )
    pixels = decode(model.vae, latents.flatten(0, 1))
    pictures = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)
    return {
        "timesteps": torch.tensor([s.t for s in model.plan()]),
        "noise_pred_0": steps[0]["guided"],
        "final_latents": latents,
        "images_pred": pictures.unflatten(0, latents.shape[:2]),
        **{f"latents_after_step_{i}": s["latents"] for i, s in enumerate(steps)},
    }


def training_loss(case: Case) -> dict[str, Tensor]:
    """The loss with and without dropped condition, and gradients of the former."""
    model, given = _guidance(case), case.inputs
    images = given["images"]
    clean = encode(model.vae, images.flatten(0, 1), given["vae_noise_target"])
    clean = clean.unflatten(0, images.shape[:2]) * model.vae.config.scaling_factor
    concat = model.condition_latents(given["image_0"], given["vae_noise_cond"])
    tokens, rig = model.tokens(given["image_0"], _pose(case)), _rig(model, case)
    out: dict[str, Tensor] = {}
    for name in ("keep", "drop"):
        result = model.denoising_loss(
            clean.detach(),
            concat,
            tokens,
            rig,
            given["timesteps"],
            given["noise"],
            given[f"u_{name}"],
        )
        out[f"{name}.loss"] = result["loss"].reshape(1)
        out[f"{name}.model_pred"] = result["prediction"]
        if name == "keep":
            out["noisy_input"] = result["noisy_input"]
            result["loss"].backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    norms = [g.norm() for g in grads.values()]
    out["grad_norm"] = torch.stack(norms).norm().reshape(1)
    wanted = [n for n in case.meta.get("tensors", {}) if n.startswith("grad.")]
    return out | {n: grads[n.removeprefix("grad.")] for n in wanted}


def dataset(case: Case) -> dict[str, Tensor]:
    """Items of the authors' folder layout."""
    config = case.config
    config.about("num_views", "length", "captions", "folder")  # of what lies in the folder
    levels = {"white": 1.0, "black": 0.0, "gray": 0.5}
    background = levels.get(config["bg_color"], config["bg_color"])
    root = case.folder / config["root_dir"]
    objects = read_index(root, case.folder / config["caption_path"])
    out: dict[str, Tensor] = {}
    for i, thing in enumerate(objects):
        item = official_item(
            thing,
            config["ref_view_mode"],
            config["sample_views_mode"],
            tuple(config["img_wh"]),
            background,
            config.get("use_abs_elevation", True),
        )
        angles = item.pop("near_elevations"), item.pop("near_azimuths")
        extra = config.get("add_global_k", 0) or 0
        item["k_near_indices"] = sets.near_views(*angles, config["k_near_views"], "plane", extra)
        item["cameras"] = sets.pack_cameras(item["intrinsics_matrixs"], item["c2w_matrixs"])
        out |= {f"item{i}.{name}": value for name, value in item.items()}
    return out


def inference_rig(case: Case) -> dict[str, Tensor]:
    """Condition picture and cameras of the released script."""
    config = case.config
    rig, side = config["rig"], config["img_wh"][0]
    config.only(sample_views_mode="ele30")
    rig.only(radius=1.5, focal_px=280, image_px=256)
    azimuths = rig["azimuth_deg"]
    cameras = cond.ring(len(azimuths), rig["elevation_deg"], truncated=True).cameras(side)
    rgba = case.inputs["image_rgba"].permute(2, 0, 1).float() / 255
    elevation, azimuth = cond.viewing_angles(cameras.c2w)
    near = sets.near_views(elevation, azimuth, config["k_near_views"], "plane")
    intrinsics = cameras.intrinsics / torch.tensor([side, side, 1.0])[:, None]
    relative = elevation - math.radians(config["input_elevation_deg"])
    return {
        "image_0": cond.released_picture(rgba, side),
        "elevations": relative[:, None],
        "azimuths": azimuth[:, None],
        "distances": torch.zeros_like(azimuth)[:, None],
        "c2w_matrixs": cameras.c2w,
        "cameras": sets.pack_cameras(intrinsics, cameras.c2w),
        "k_near_first": near[:, 0],
        "k_near_set_sorted": near.sort(dim=-1).values,
    }


CASES: dict[str, Adapter] = {
    "epipolar": epipolar,
    "feature_aggregator": feature_aggregator,
    "feature_aggregator_k": feature_aggregator_k,
    "mv_model": mv_model,
    "conditioning": conditioning,
    "sample": sample,
    "training_loss": training_loss,
    "dataset": dataset,
    "inference_rig": inference_rig,
}
