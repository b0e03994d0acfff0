"""Valid tiny weights and checkpoints of every format, how they are read, and damage to them."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.campaign.fuzz_damage import HOSTILE, bombs, damage, place
from tests.campaign.fuzz_inputs import program
from tests.unit import test_instant_nsr as instant_nsr
from tests.unit import test_neus as neus
from tests.unit import test_weight_folders as weights

Random = random.Random
REPOSITORY_NAME = "owner/name"


def nano(method: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        weights.copied(method, folder)

    return make


def sharded(folder: Path) -> None:
    """A text encoder of two shards with their index."""
    from safetensors.torch import load_file, save_file

    weights.copied("spad", folder)
    path = folder / "spad/text_encoder/model.safetensors"
    tensors = load_file(path)
    keys, places = sorted(tensors), {}
    for number, shard in enumerate((keys[::2], keys[1::2]), 1):
        name = f"model-{number:05d}-of-00002.safetensors"
        save_file({k: tensors[k] for k in shard}, path.with_name(name))
        places.update(dict.fromkeys(shard, name))
    path.unlink()
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    path.with_name("model.safetensors.index.json").write_text(json.dumps(index))


def guidance(method: str) -> tuple[str, ...]:
    options = {"weights": f"{{in}}/{weights.METHODS[method]}"}
    if method == "epidiff":
        options["base"] = "{in}/zero123"
    return program(f"build('guidance', {method!r}, {options!r}, key='system.guidance')")


def tensors(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from safetensors.torch import save_file

        content = {"a.weight": torch.ones(8, 8), "b": torch.arange(9)}
        if name.endswith(".safetensors"):
            save_file(content, folder / name)
        else:
            state = {"state_dict": content, "epoch": 3, "other": Path("x")}
            torch.save(state, folder / name, _use_new_zipfile_serialization="old" not in name)

    return make


def reading(name: str) -> tuple[str, ...]:
    code = f"from studio.io.weights import read_tensors; read_tensors('{{in}}/{name}')"
    return program(code)


def lpips(folder: Path) -> None:
    """Backbone and heads in their published formats."""
    from studio.metrics.lpips import BACKBONE_FILES, expected_shapes

    shapes = expected_shapes("alex")
    backbone = {f"features.{n}": torch.zeros(s) for n, s in shapes.items() if "head" not in n}
    heads = {f"lin{i}.model.1.weight": torch.ones(shapes[f"head{i}"]) for i in range(5)}
    torch.save(backbone, folder / BACKBONE_FILES["alex"], _use_new_zipfile_serialization=False)
    torch.save(heads, folder / "alex.pth")


LPIPS = program(
    "from studio.metrics.lpips import LPIPS; from pathlib import Path;"
    "LPIPS.load('alex', Path('{in}'))"
)


def neus_file(folder: Path) -> None:
    """A checkpoint of NeuS with its optimiser."""
    geometry = neus.NeuSMLP(neus.NeuSMLP.Config(**neus.TINY))
    parts: dict[str, Any] = neus.official_checkpoint(geometry, neus.renderer_with(), neus.NEUS)
    state = torch.optim.Adam(geometry.parameters()).state_dict()
    torch.save({**parts, "optimizer": state, "iter_step": 10}, folder / "ckpt.pth")


NEUS = program(
    f"build('geometry', 'neus-mlp', {{**{neus.TINY!r}, 'weights': '{{in}}/ckpt.pth'}}, key='g')"
)


def instant_nsr_file(folder: Path) -> None:
    """A checkpoint of instant-nsr-pl."""
    content = instant_nsr.exported(instant_nsr.small(radius=1.5), instant_nsr.small_renderer())
    torch.save({"state_dict": content}, folder / "official.ckpt")


_NSR = {**instant_nsr.SMALL, "hidden": 16, "radius": 1.5}
INSTANT_NSR = program(
    f"build('geometry', 'instant-nsr', {{**{_NSR!r}, 'weights': '{{in}}/official.ckpt'}}, key='g');"
    "build('renderer', 'neus-occupancy', {'grid_resolution': 4, 'sharpness': 'learned', "
    "'occupancy': 'opacity', 'weights': '{in}/official.ckpt'}, key='r')"
)


def card(folder: Path) -> None:
    """A model card beside weights of our own."""
    (folder / "README.md").write_text("---\nlicense: mit\ntags: [a]\n---\n\n# Weights\n")
    (folder / "config.json").write_text('{"weights": "x"}')


# --- checkpoints of training ----------------------------------------------------------------------


def altered_checkpoint(folder: Path, rng: Random) -> str:
    """Put a hostile value, or none, somewhere into a checkpoint whose checksums are right.

    But for what the optimiser keeps of each weight, and how the data go on.
    """
    path = next(folder.rglob("last.ckpt"))
    content = torch.load(path, weights_only=True)
    owner, key = content, rng.choice(list(content))
    name = str(key)
    while (
        isinstance(owner[key], dict | list)
        and owner[key]
        and key not in ("optimizer_states", "loops")
        and rng.random() < 0.8
    ):
        owner = owner[key]
        key = rng.choice(list(owner)) if isinstance(owner, dict) else rng.randrange(len(owner))
        name += f".{key}"
    if rng.random() < 0.3:
        del owner[key]
    else:
        values = [v for v in HOSTILE if not isinstance(v, str) or v.isprintable()]
        owner[key] = rng.choice((*values, torch.zeros(3), torch.full((2, 2), float("nan"))))
    for file in path.parent.glob("*.ckpt"):
        file.unlink()
    torch.save(content, path)
    return name


# --- the hub's cache ------------------------------------------------------------------------------


def hub_cache(folder: Path) -> None:
    """A repository of weights in shards, with a card, as the hub's client lays it out."""
    sharded(folder / "source")
    (folder / "source/spad/README.md").write_text("---\nlicense: mit\n---\n# Weights\n")
    weights.into_cache(folder / "hub", REPOSITORY_NAME, folder / "source" / "spad")
    shutil.rmtree(folder / "source")


HUB = program(
    "from studio.guidance.hub import locate; from studio.guidance.licences import licence_of;"
    f"licence_of(str(locate({REPOSITORY_NAME!r})));"
    f"build('guidance', 'spad', {{'weights': {REPOSITORY_NAME!r}}}, key='system.guidance')"
)
CARD = program("from studio.guidance.licences import licence_of; licence_of('{in}')")
REFS = (b"", b"\n", b"../../..", b"/etc", b"a" * 5000, b"\xff\xfe", b"\0", b"0123", b"main")
OUTSIDE = ("../../x", "/etc/passwd", "absent.safetensors", "", 7, None, "a" * 5000, "..", "\0")


def damaged_cache(folder: Path, rng: Random) -> str:
    """Damage a ref, a snapshot, a link, an index or a file of the cache; returns how."""
    (top,) = (folder / "hub").iterdir()
    (snapshot,) = (top / "snapshots").iterdir()
    main, index = top / "refs" / "main", next(snapshot.rglob("*.index.json"))
    links = sorted(p for p in snapshot.rglob("*") if p.is_symlink())
    way = rng.randrange(7)
    if way == 0:
        main.write_bytes(rng.choice((*REFS, *bombs())))
        return "ref"
    if way == 1:
        return f"ref-{place(main, rng)}"
    if way == 2:
        gone = rng.choice((snapshot, snapshot.parent, top / "blobs", snapshot / "unet"))
        shutil.rmtree(gone)
        rng.choice((gone.touch, gone.mkdir, lambda: None, lambda: gone.symlink_to(gone.name)))()
        return f"{gone.name}-gone"
    link = rng.choice(links)
    if way == 3:
        target = rng.choice(("../../blobs/none", link.name, "/dev/zero", "/", "../" * 30 + "etc"))
        link.unlink()
        link.symlink_to(target)
        return f"{link.name}-link"
    if way == 4:
        content = json.loads(index.read_text())
        places = content["weight_map"]
        places[rng.choice(list(places))] = rng.choice(OUTSIDE)
        if rng.random() < 0.2:
            content["weight_map"] = rng.choice(HOSTILE[:12])
        index.unlink()
        index.write_text(json.dumps(content))
        return "index"
    if way == 5:
        rng.choice((snapshot, snapshot.parent, top, link.parent)).chmod(0)
        return "closed"
    return f"{link.name}-{damage(link, rng)}"
