"""All kinds of inputs of the campaign: what is written, what is damaged, what reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.campaign import fuzz_inputs as made
from tests.campaign import fuzz_weights as stored
from tests.campaign.fuzz_inputs import Kind, condition, item, loading, program
from tests.campaign.fuzz_plugins import broken_plugin, no_plugin
from tests.campaign.fuzz_words import (
    command_words,
    config_words,
    option_words,
    run_words,
    small_run,
)
from tests.campaign.fuzz_yaml import hostile_config
from tests.unit import test_captures as captures
from tests.unit import test_epidiff_views as epidiff
from tests.unit import test_eschernet_eval as eschernet

EXR = ("NO", "RLE", "ZIPS", "ZIP")
PICTURES = (
    ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16"), ("PNG", "LA"), ("JPEG", "RGB"),
    ("JPEG", "CMYK"), ("WEBP", "RGBA"), ("TIFF", "RGBA"), ("BMP", "RGB"), ("GIF", "P"),
    ("AVIF", "RGB"), ("PPM", "RGB"),
)  # fmt: skip
RUN = ("launch.py", "--config", "{in}/c.yaml", "--train", "exp_root_dir={out}")
CHECKED = "from tests.campaign.fuzz_words import checked"
READ_EXR = "from studio.data.training.exr import read_exr; from pathlib import Path"


def colmap(binary: bool) -> Callable[[Path], None]:
    return lambda folder: captures.write_colmap(folder, captures.RIG, binary=binary, model="OPENCV")


def cached(folder: Path) -> None:
    """What the procedural data set keeps for the next run."""
    from studio.plugins.options import build

    options = {**CACHE, "cache_dir": str(folder)}
    build("data", "procedural", options, key="data").dataset("train")[0]


CACHE = {"objects": 1, "val_objects": 1, "resolution": 16, "categories": ["car"]}


CAPTURES = [
    Kind("transforms", lambda f: captures.write_ngp(f, captures.RIG, k1=0.01), loading("capture"),
         ("transforms.json",), share=3),
    Kind("transforms-pictures", lambda f: captures.write_ngp(f, captures.RIG), loading("capture"),
         ("images/*",)),
    Kind("transforms-ours", made.ours, loading("transforms")),
    Kind("transforms-nerf", made.nerf, loading("transforms", background="none"), ("*.json",)),
    Kind("colmap-text", colmap(False), loading("capture"), ("sparse/**/*",), share=3),
    Kind("colmap-binary", colmap(True), loading("capture"), ("sparse/**/*",), share=3),
    Kind("masks", colmap(True), loading("colmap"), ("masks/*",)),
    Kind("dtu", lambda f: captures.write_dtu(f, captures.RIG), loading("capture"),
         ("*.npz", "mask/000.png"), share=2),
    Kind("wonder3d", made.wonder, loading("wonder3d", poses="{in}/poses"), share=2),
    Kind("strip", made.strip, loading("capture")),
    Kind("eschernet", lambda f: eschernet.write_views(f, eschernet.ring(5)), loading("eschernet"),
         share=2),
    Kind("eschernet-gso", lambda f: eschernet.write_views(
        f / "render_mvs_25/model", eschernet.ring(5)),
        condition("eschernet-eval", type="GSO25", resolution=16), share=1),
    Kind("eschernet-nerf", made.nerf, condition("eschernet-eval", type="NeRF", resolution=16)),
    Kind("eschernet-rtmv", made.rtmv, condition("eschernet-eval", type="RTMV", resolution=16)),
    Kind("eschernet-franka", made.franka, condition("eschernet-eval", type="Franka",
                                                    resolution=16), ("*.npy",)),
    Kind("epidiff-views", epidiff.write_ring, item(
        "epidiff-views", resolution=16, views=[0, 1, 2, 3], reference=2), share=2),
    Kind("views-release", made.views_release, item(
        "views-release", size=16, total_view=3, train_share=0.5), share=2),
    Kind("filter-views", made.views_release, (
        "launch.py", "--filter-views", "{in}", "views=3", "transparent=1",
        "processes=1", "out={out}/valid.json")),
    Kind("spad", made.spad_objects, item(
        "spad", size=16, objects="objects.txt", captions="captions.csv", train_share=1.0), share=3),
    Kind("captioned", made.captioned, program(
        "from studio.data.training.captioned_pictures import CaptionedPictures;"
        "from pathlib import Path;"
        "c = CaptionedPictures(Path('{in}'), 16); [c[i] for i in range(len(c))]")),
    Kind("nmr-folder", made.nmr("folder"), item("nmr"), ("**/*.yaml", "**/*.lst", "**/*.npz")),
    Kind("nmr-zip", made.nmr("zip"), item("nmr", "NMR_Dataset.zip"), share=2),
    Kind("nmr-shards", made.nmr("shards"), item("nmr", "shards"), share=2),
    Kind("prepare", made.nmr("zip"), (
        "launch.py", "--prepare", "nmr", "source={in}/NMR_Dataset.zip", "out={out}/s", "shards=1")),
    Kind("cache", cached, program(
        f"build('data', 'procedural', {{**{CACHE!r}, 'cache_dir': '{{in}}'}}, key='data')"
        ".dataset('train')[0]")),
    Kind("epipolar", lambda f: captures.write_ngp(f, captures.RIG), (
        "launch.py", "--visualise-epipolar", "{in}", "out={out}", "frames=1", "points=1",
        "tile=64"), ("transforms.json",), share=0.5),
]  # fmt: skip
PICTURE_KINDS = [
    Kind(f"picture-{form}-{mode.replace(';', '')}".lower(), made.picture(form, mode),
         condition("single-image", image="{in}/p.png", resolution=64), names=False,
         share=0.8)
    for form, mode in PICTURES
] + [
    Kind(f"photo-{form}".lower(), made.photo(form), program(
        "from studio.app.early_checks import check_early; from pathlib import Path;"
        "check_early('configs/epidiff-neus.yaml', ['data.image={in}/p.jpg']);"
        "build('data', 'single-image', {'image': '{in}/p.jpg', 'resolution': 64}, key='data')"
        ".condition()"), names=False)
    for form in ("JPEG", "PNG", "WEBP")
] + [
    Kind(f"exr-{kind}".lower(), made.exr_of(kind), program(
        f"{READ_EXR}; read_exr(Path('{{in}}/x.exr'))"), share=0.8)
    for kind in EXR
]  # fmt: skip
MESHES = [
    Kind(f"mesh{suffix}", made.mesh(suffix), (
        "launch.py", "--evaluate", f"pred={{in}}/m{suffix}", f"reference={{in}}/m{suffix}",
        "out={out}/e.json"), share=0.5)
    for suffix in (".obj", ".ply", ".glb", ".gltf", ".stl", ".off", ".3mf")
] + [
    Kind("evaluate-views", made.views, (
        "launch.py", "--evaluate", "pred={in}/views", "reference={in}/views", "out={out}/e.json"),
         ("views/*.json",), share=0.5),
]  # fmt: skip
WEIGHTS = [
    Kind(f"weights-{method}", stored.nano(method), stored.guidance(method), share=2)
    for method in stored.weights.METHODS
] + [
    Kind("weights-shards", stored.sharded, stored.guidance("spad"), ("spad/text_encoder/*",)),
    *(Kind(f"tensors-{name}", stored.tensors(name), stored.reading(name))
      for name in ("a.safetensors", "a.ckpt", "old.pt")),
    Kind("weights-lpips", stored.lpips, stored.LPIPS),
    Kind("weights-neus", stored.neus_file, stored.NEUS, share=2),
    Kind("weights-instant-nsr", stored.instant_nsr_file, stored.INSTANT_NSR, share=2),
    Kind("hub-cache", stored.hub_cache, stored.HUB, environment={"HF_HUB_CACHE": "{in}/hub"},
         write=stored.damaged_cache, names=False, share=3),
    Kind("card", stored.card, stored.CARD, ("README.md",)),
]  # fmt: skip
PROGRAM = [
    Kind("config", made.config, RUN, ("c.yaml",), says="last.ckpt", share=3),
    Kind("config-yaml", made.config, program(f"{CHECKED}; checked('{{in}}/c.yaml')"),
         write=hostile_config, names=False, share=3),
    Kind("words-option", made.config, RUN, words=option_words, share=2),
    Kind("words-config", made.no_file, program(f"{CHECKED}; checked(*words)"),
         words=config_words, control=("configs/epidiff-neus.yaml",), share=5),
    Kind("words-run", made.no_file, ("launch.py", "--train", "exp_root_dir={out}"),
         words=run_words, control=small_run("configs/epidiff-neus.yaml"), share=0.5),
    Kind("words-command", made.config, ("launch.py",), words=command_words, share=3),
    Kind("resume", made.finished, (*RUN, "exp_root_dir={in}/runs", "resume=last",
                                   "trainer.max_steps=2"), ("runs/**/*",), share=0.4),
    Kind("resume-checkpoint", made.finished, (*RUN, "exp_root_dir={in}/runs", "resume=last",
                                              "trainer.max_steps=2"), ("runs/**/last.ckpt",)),
    Kind("resume-altered", made.finished, (*RUN, "exp_root_dir={in}/runs", "resume=last",
                                           "trainer.max_steps=2"),
         write=stored.altered_checkpoint),
    Kind("export-altered", made.finished, ("launch.py", "--config", "{in}/c.yaml", "--export",
                                           "exp_root_dir={in}/runs"),
         write=stored.altered_checkpoint, share=0.5),
    Kind("export", made.finished, ("launch.py", "--config", "{in}/c.yaml", "--export",
                                   "exp_root_dir={in}/runs"), ("runs/**/*",), share=0.25),
    Kind("again", made.finished, (*RUN, "exp_root_dir={in}/runs"), ("runs/**/*",), share=0.25),
    Kind("list-plugins", no_plugin, ("launch.py", "--list", "--verbose"),
         environment={"STUDIO_CUSTOM": "{in}"}, says="custom plugins are read from",
         write=broken_plugin, shows=True, lists=True, share=2),
    Kind("doctor", no_plugin, ("launch.py", "--doctor"), environment={"STUDIO_CUSTOM": "{in}"},
         write=broken_plugin, share=0.3),
    Kind("use-plugins", made.config_and_plugins, (*RUN, "system.geometry_type=broken"),
         environment={"STUDIO_CUSTOM": "{in}/custom"}, write=lambda f, rng: broken_plugin(
             f / "custom", rng), share=0.7),
]  # fmt: skip
KINDS = [*CAPTURES, *PICTURE_KINDS, *MESHES, *WEIGHTS, *PROGRAM]
SHORT = ("transforms", "colmap-text", "colmap-binary", "dtu", "picture-png-rgba", "exr-zip",
         "mesh.ply", "spad", "tensors-", "nmr-zip", "list-plugins", "config-yaml", "card",
         "weights-neus", "photo-jpeg")  # fmt: skip
