"""Every way to name weights, for every method: in the hub's cache, fetched, in a folder, a file."""

from __future__ import annotations

import fnmatch
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.errors import WeightsError
from studio.guidance import hub
from studio.plugins.options import build
from tests.nano import SHIPPED
from tests.unit.test_weight_folders import METHODS, NANO, REVISION, into_cache

LISTED = ("README.md", ".gitattributes", "demo.ipynb", "unet/diffusion_pytorch_model.fp16.onnx")


@dataclass
class Hub:
    """Stands in for the hub: serves local folders as repositories and notes what is asked for."""

    cache: Path
    root: Path
    asked: list[str] = field(default_factory=list)
    online: bool = True

    def put(self, repository: str, source: Path, below: str = "", variants: bool = True) -> None:
        """Make a repository of a folder, with other files around: variants, pickles, a demo."""
        target = self.root / repository / below
        shutil.copytree(source, target, dirs_exist_ok=True)
        for name in LISTED:
            (self.root / repository / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / repository / name).write_text("---\nlicense: mit\n---\n")
        for path in list(target.rglob("*.safetensors")) if variants else ():
            half = {k: v.half() if v.is_floating_point() else v for k, v in load_file(path).items()}
            save_file(half, path.with_suffix(".fp16.safetensors"))
            torch.save({}, path.with_suffix(".bin"))

    def files(self, repository: str) -> list[str]:
        folder = self.root / repository
        return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())

    def model_info(self, repository: str, *, files_metadata: bool = False) -> Any:
        if not self.online or not (self.root / repository).is_dir():
            raise OSError(f"404: {repository} not found")
        sizes = {n: (self.root / repository / n).stat().st_size for n in self.files(repository)}
        return SimpleNamespace(
            siblings=[SimpleNamespace(rfilename=n, size=s) for n, s in sizes.items()]
        )

    def snapshot_download(self, repository: str, allow_patterns: Sequence[str]) -> str:
        assert self.online
        snapshot = self.cache / f"models--{repository.replace('/', '--')}" / "snapshots" / REVISION
        (snapshot.parents[1] / "refs").mkdir(parents=True, exist_ok=True)
        (snapshot.parents[1] / "refs" / "main").write_text(REVISION)
        for name in self.files(repository):
            if any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns):
                self.asked.append(name)
                (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.root / repository / name, snapshot / name)
        return str(snapshot)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    web = Hub(tmp_path / "hf" / "hub", tmp_path / "web")
    monkeypatch.setattr("huggingface_hub.model_info", web.model_info)
    monkeypatch.setattr("huggingface_hub.snapshot_download", web.snapshot_download)
    return web


def used_by(method: str, variant: str = "") -> set[str]:
    """What of a repository with nano weights the method reads, told by hand."""
    weights = {
        "zero123": ["unet", "vae", "clip_camera_projection", "image_encoder"],
        "eschernet": ["unet", "vae", "image_encoder"],
        "spad": ["unet", "vae", "camera_projection", "text_encoder"],
    }
    weights["viewfusion-interpolated"] = weights["zero123"]
    suffix = f".{variant}.safetensors" if variant else ".safetensors"
    found = {"config.json", "knows.json", "README.md"}
    for part in weights.get(method, []):
        stem = "model" if "encoder" in part else "diffusion_pytorch_model"
        found |= {f"{part}/config.json", f"{part}/{stem}{suffix}"}
    if method in ("zero123", "viewfusion-interpolated", "eschernet"):
        found.add("scheduler/scheduler_config.json")
    if method == "spad":
        found.add("tokenizer/words.json")
    single = {"epidiff": "blocks", "viewfusion-composable": "unet"}
    return found | ({single[method] + suffix} if method in single else set())


def tensors_of(method: str, options: dict[str, Any]) -> dict[str, torch.Tensor]:
    return dict(build("guidance", method, options, key="system.guidance").state_dict())


def options_of(method: str, name: str, **more: Any) -> dict[str, Any]:
    """Options that name weights; EpiDiff's base lies in a repository of its own."""
    base = {"base": "someone/base"} if method == "epidiff" else {}
    return {"weights": name, **base, **more}


@pytest.fixture(scope="module")
def truth() -> dict[str, dict[str, torch.Tensor]]:
    return {m: tensors_of(m, {"weights": str(NANO / METHODS[m])}) for m in METHODS}


WAYS = ["owner/name", "owner/name:sub/folder", "variant"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
def test_a_repository_is_fetched_once_and_only_what_is_read(
    method: str, way: str, web: Hub, truth: dict[str, dict[str, torch.Tensor]]
) -> None:
    below = "sub/folder" if "sub" in way else ""
    variant = "fp16" if way == "variant" else ""
    name = way.replace("owner", "someone").replace("name", method) if "/" in way else ""
    name = name or f"someone/{method}"
    web.put(f"someone/{method}", NANO / METHODS[method], below)
    if method == "epidiff":
        web.put("someone/base", NANO / "zero123")
    options = options_of(method, name, variant=variant)
    with pytest.raises(WeightsError, match="allow_download=true"):
        tensors_of(method, options)
    found = tensors_of(method, {**options, "allow_download": True})
    prefix = f"{below}/" if below else ""
    expected = {prefix + f for f in used_by(method, variant)} | {"README.md"}
    expected -= {"sub/folder/README.md"}
    expected |= used_by("zero123", variant) if method == "epidiff" else set()
    assert set(web.asked) == expected
    web.online = False
    again = [tensors_of(method, {**options, "allow_download": True})] if way == WAYS[0] else []
    for one in (found, *again):
        for key, value in truth[method].items():
            exact = {"rtol": 1e-3, "atol": 1e-4} if variant else {"rtol": 0, "atol": 0}
            torch.testing.assert_close(one[key], value, **exact)


@pytest.mark.parametrize("inner", [":sub/folder"])
@pytest.mark.parametrize("method", METHODS)
def test_the_cache_serves_without_a_flag(
    method: str, inner: str, web: Hub, truth: dict[str, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    web.online = False
    shutil.copytree(NANO / METHODS[method], tmp_path / "r" / inner.lstrip(":"))
    into_cache(web.cache, "a/b", tmp_path / "r")
    if method == "epidiff":
        into_cache(web.cache, "someone/base", NANO / "zero123")
    found = tensors_of(method, options_of(method, f"a/b{inner}"))
    assert all(torch.equal(found[k], v) for k, v in truth[method].items())


# ---------------------------------------------------------------- files

TINY_COMPOSABLE = {"resolution": 32, "patch": 1, "inner_channel": 16, "channel_mults": [1, 2],
                   "attn_res": [16], "norm_groups": 8, "prediction_type": "epsilon"}  # fmt: skip
FILES = {  # what a file of weights does not tell
    "epidiff": {"base": str(NANO / "zero123"), "depth": 1, "pos_encs": ["abs"]},
    "eschernet": {"cape": "6dof"},
    "viewfusion-composable": TINY_COMPOSABLE,
}


@pytest.mark.parametrize(
    ("where", "suffix"),
    [("here", ".ckpt"), ("cache", ".pt"), ("fetched", ".safetensors"), ("only file", ".ckpt")],
)
@pytest.mark.parametrize("method", FILES)
def test_a_file_of_weights(method: str, where: str, suffix: str, web: Hub, tmp_path: Path) -> None:
    composable = method == "viewfusion-composable"
    source = FILES[method] if composable else {"weights": str(NANO / METHODS[method])}
    truth = {k: v.contiguous() for k, v in tensors_of(method, dict(source)).items()}
    path = tmp_path / "web" / "some" / "one" / "data" / f"w{suffix}"
    path.parent.mkdir(parents=True)
    section = "model" if composable else "state_dict"
    if suffix == ".safetensors":
        save_file(truth, path)
    else:
        torch.save({section: truth, "step": 3}, path)
    (path.parents[1] / "README.md").write_text("---\nlicense: mit\n---\n")
    options: dict[str, Any] = {**FILES[method], "weights": f"some/one:data/w{suffix}"}
    if where == "here":
        options["weights"] = str(path)
    elif where == "cache":
        into_cache(web.cache, "some/one", path.parents[1])
    else:
        options["allow_download"] = True
    if where == "only file":
        options["weights"] = "some/one"
    model = build("guidance", method, options)
    assert all(torch.equal(model.state_dict()[k], v) for k, v in truth.items())
    assert model.provenance()["licence"] == "mit" or where == "here"
    assert set(web.asked) <= {"README.md", f"data/w{suffix}"}


@pytest.mark.parametrize("method", ["zero123", "eschernet", "spad"])
@pytest.mark.parametrize("way", ["folder", "model", "file", "state dict", "cache", "fetched"])
def test_a_part_to_start_from(method: str, way: str, web: Hub, tmp_path: Path) -> None:
    truth = load_file(NANO / "vae" / "diffusion_pytorch_model.safetensors")
    text = str(NANO / "vae")
    if way == "model":
        text = str(NANO / "zero123")
    elif way == "file":
        text = str(tmp_path / "vae.pt")
        torch.save(truth, text)
    elif way == "state dict":
        text = str(tmp_path / "all.safetensors")
        other = {"unet.conv_in.weight": torch.zeros(1)}
        save_file({**{f"vae.{k}": v for k, v in truth.items()}, **other}, text)
    elif way == "cache":
        text = "a/sd"
        into_cache(web.cache, text, NANO / "zero123")
    elif way == "fetched":
        text = "a/sd"
        web.put(text, NANO / "zero123")
    model = build("guidance", method, {"vae_weights": text, "allow_download": way == "fetched"})
    assert all(torch.equal(model.vae.state_dict()[k], v) for k, v in truth.items())
    if way == "fetched":
        read = {"vae/config.json", "vae/diffusion_pytorch_model.safetensors", "README.md"}
        assert set(web.asked) == read


def test_networks_to_start_from_in_files(web: Hub, tmp_path: Path) -> None:
    unet = load_file(NANO / "zero123" / "unet" / "diffusion_pytorch_model.safetensors")
    encoder = load_file(NANO / "eschernet" / "image_encoder" / "model.safetensors")
    text = load_file(NANO / "spad" / "text_encoder" / "model.safetensors")
    for name, tensors in (("unet", unet), ("encoder", encoder), ("text", text)):
        torch.save(tensors, tmp_path / f"{name}.pt")
    given = {f"{n}_start": str(tmp_path / f"{n}.pt") for n in ("unet", "encoder", "text")}
    escher = {k: v for k, v in given.items() if k != "text_start"}
    model = build("guidance", "eschernet", {**escher, "vae_weights": str(NANO / "vae")})
    taken = model.unet.state_dict()["conv_out.weight"]
    assert torch.equal(taken, unet["conv_out.weight"])
    key = "embeddings.patch_embeddings.weight"
    assert torch.equal(model.image_encoder.state_dict()[key], encoder[key])
    spad = {k: v for k, v in given.items() if k != "encoder_start"}
    model = build("guidance", "spad", {**spad, "vae_weights": str(NANO / "vae")})
    assert torch.equal(model.denoiser.unet.state_dict()["conv_out.weight"], taken)
    own = {k.removeprefix("text_model."): v for k, v in model.text_encoder.state_dict().items()}
    assert all(torch.equal(own[k.removeprefix("text_model.")], v) for k, v in text.items())


@pytest.mark.parametrize("named", ["../vae", "../../../../../../zero123-any/vae", "../../b/vae"])
def test_a_part_in_common_is_fetched_from_the_same_repository_only(
    named: str, web: Hub, tmp_path: Path, truth: dict[str, dict[str, torch.Tensor]]
) -> None:
    for name in ("zero123", "vae"):
        web.put("some/set", SHIPPED / name, name, variants=False)
    config = web.root / "some/set/zero123/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"vae_weights": named}))
    options = {"weights": "some/set:zero123", "allow_download": True}
    if named != "../vae":
        with pytest.raises(WeightsError, match="leads out of"):
            tensors_of("zero123", options)
        return
    found = tensors_of("zero123", options)
    assert all(torch.equal(found[key], value) for key, value in truth["zero123"].items())
    web.online = False
    assert tensors_of("zero123", {"weights": "some/set:zero123"}).keys() == found.keys()


# ---------------------------------------------------------------- what goes wrong


def test_what_is_missing_is_told_at_once_and_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(NANO / "zero123", tmp_path / "base")
    shutil.copytree(NANO / "epidiff", tmp_path / "blocks")
    (tmp_path / "base" / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    (tmp_path / "base" / "image_encoder" / "config.json").unlink()
    read: list[Path] = []
    monkeypatch.setattr("studio.io.weights.load_file", read.append)
    options = {"weights": str(tmp_path / "blocks"), "base": str(tmp_path / "base")}
    with pytest.raises(WeightsError, match="is incomplete") as caught:
        build("guidance", "epidiff", options)
    assert "vae holds no weights" in str(caught.value)
    assert "image_encoder/config.json" in str(caught.value)
    assert read == []


def test_several_files_and_none(web: Hub, tmp_path: Path) -> None:
    for name in ("a.ckpt", "b.ckpt"):
        (tmp_path / "web" / "x" / "y").mkdir(parents=True, exist_ok=True)
        (tmp_path / "web" / "x" / "y" / name).write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"x/y:a\.ckpt, x/y:b\.ckpt"):
        hub.locate("x/y", True)
    assert hub.locate("x/y:b.ckpt", True).name == "b.ckpt"
    with pytest.raises(WeightsError, match=r"no c\.ckpt in the hub's x/y"):
        hub.locate("x/y:c.ckpt", True)
    assert web.asked == ["b.ckpt"]


def test_a_name_that_nobody_knows(web: Hub) -> None:
    with pytest.raises(WeightsError, match="neither here nor to be had from the hub") as caught:
        hub.locate("checkpoints/eschernet-6dof", True)
    assert "404" in str(caught.value)


def test_a_base_beside_the_blocks_in_a_repository(web: Hub) -> None:
    web.put("some/one", NANO / "epidiff")
    web.put("some/one", NANO / "zero123", "base")
    config = web.root / "some" / "one" / "config.json"
    config.write_text(config.read_text().replace("../zero123", "base"))
    found = tensors_of("epidiff", {"weights": "some/one", "allow_download": True})
    truth = tensors_of("epidiff", {"weights": str(NANO / "epidiff")})
    assert all(torch.equal(found[k], v) for k, v in truth.items())
    assert f"base/{'unet'}/diffusion_pytorch_model.safetensors" in web.asked
    assert not [name for name in web.asked if name.endswith((".bin", ".onnx")) or "fp16" in name]


def test_stages_heed_what_lies_in_the_cache(web: Hub, tmp_path: Path) -> None:
    from studio.runs.hashing import hash_of
    from studio.systems.generated import weight_paths

    snapshot = into_cache(web.cache, "a/b", NANO / "epidiff")
    into_cache(web.cache, "some/base", NANO / "zero123")
    options = {"weights": "a/b", "base": "some/base:unet", "settings": "right", "variant": ""}
    found = weight_paths(options)
    assert snapshot in found and found[-1].name == "unet"
    first = hash_of(found)
    (snapshot / "blocks.safetensors").resolve().write_bytes(b"other weights")
    assert hash_of(weight_paths(options)) != first


def test_the_doctor_lists_what_released_weights_need(
    web: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.app.doctor import released_weights

    monkeypatch.setattr("studio.io.weights.load_file", None)  # nothing is read
    (tmp_path / "r").mkdir()
    torch.save({"model": {"x": torch.zeros(2_500_000)}}, tmp_path / "r" / "best_model_all.pt")
    (tmp_path / "r" / "README.md").write_text("---\nlicense: mit\n---\n")
    into_cache(web.cache, "bronemos/view-fusion", tmp_path / "r")
    advice: list[str] = []
    lines = {line.split()[0]: line for line in released_weights(advice)[1:] if "weights " in line}
    assert advice == []
    assert "0.01 GB, " in lines["viewfusion-composable"]
    assert lines["viewfusion-composable"].endswith("licence: mit")
    assert "kxic/eschernet-6dof: not here, 3.9 GB; licence: Imperial" in lines["eschernet"]
    assert len(lines) == 5


OFFICIAL = {  # a file of what the official configs name
    "epidiff": ("huanngzh/EpiDiff", "last.ckpt"),
    "eschernet": ("kxic/eschernet-6dof", "unet/diffusion_pytorch_model.safetensors"),
    "spad": ("yashkant/spad", "data/checkpoints/spad_four_views.ckpt"),
    "viewfusion-composable": ("bronemos/view-fusion", "best_model_all.pt"),
    "viewfusion-interpolated": ("cvlab/zero123-weights", "zero123-xl.ckpt"),
}
FAULTS = {
    "empty": "is an empty file",
    "cut": "is truncated",
    "pointer": "is a Git LFS pointer",
    "page": "is a web page",
    "nowhere": "does not exist",
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("method", OFFICIAL)
def test_the_doctor_tells_what_is_broken(method: str, fault: str, web: Hub, tmp_path: Path) -> None:
    from studio.app.doctor import released_weights

    repository, name = OFFICIAL[method]
    path = tmp_path / "r" / name
    path.parent.mkdir(parents=True)
    save = save_file if path.suffix == ".safetensors" else torch.save
    save({"x": torch.zeros(1000)}, path)
    whole = path.read_bytes()
    content = {"empty": b"", "cut": whole[: len(whole) // 2], "page": b"<!DOCTYPE html>" * 100}
    content["pointer"] = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    path.write_bytes(content.get(fault, whole))
    snapshot = into_cache(web.cache, repository, tmp_path / "r")
    if fault == "nowhere":
        (snapshot / name).unlink()
        (snapshot / name).symlink_to(tmp_path / "gone")
    advice: list[str] = []
    line = next(line for line in released_weights(advice) if repository in line)
    if fault == "nowhere" and method not in ("epidiff", "eschernet"):  # the file itself is named
        assert "not here" in line
        return
    assert FAULTS[fault] in line and path.name in line
    assert [text for text in advice if FAULTS[fault] in text and text.startswith(method)]


def test_the_doctor_tells_of_a_folder_without_weights(web: Hub, tmp_path: Path) -> None:
    from studio.app.doctor import released_weights

    for repository in ("kxic/eschernet-6dof", "openai/clip-vit-large-patch14"):
        (tmp_path / repository).mkdir(parents=True)
        (tmp_path / repository / "config.json").write_text("{}")
        (tmp_path / repository / "vocab.json").write_text("{" if "clip" in repository else "{}")
        into_cache(web.cache, repository, tmp_path / repository)
    advice: list[str] = []
    lines = {line.split()[2]: line for line in released_weights(advice)[1:]}
    assert "holds no file of weights" in lines["kxic/eschernet-6dof:"]
    tokenizer = lines["openai/clip-vit-large-patch14:"]
    assert "vocab.json" in tokenizer and "holds no file of weights" not in tokenizer
    assert len(advice) == 2


@pytest.mark.parametrize("place", ["folder", "cache"])
@pytest.mark.parametrize("method", METHODS)
def test_weights_of_another_method_are_told_apart(
    method: str, place: str, web: Hub, tmp_path: Path
) -> None:
    other = "spad" if method != "spad" else "epidiff"
    name = str(NANO / other)
    if place == "cache":
        name = "some/one"
        into_cache(web.cache, name, NANO / other)
    with pytest.raises(WeightsError, match="is incomplete as weights of") as caught:
        build("guidance", method, {"weights": name}, key="system.guidance")
    fetch = "system.guidance.allow_download=true" in str(caught.value)
    assert fetch is (place == "cache")
    assert ("system.guidance.weights=" in str(caught.value)) is (place == "folder")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="is incomplete as weights of"):
        build("guidance", method, {"weights": str(tmp_path / "empty")}, key="system.guidance")


def test_what_is_not_here_names_the_option_whole(web: Hub, tmp_path: Path) -> None:
    from studio.app.early_checks import check_early

    config = tmp_path / "c.yaml"
    for option in ("weights", "base"):
        guidance = {"weights": str(NANO / "epidiff"), option: "nobody/nothing"}
        system = {"guidance_type": "epidiff", "guidance": guidance}
        content = {"name": "x", "system_type": "image-to-3d", "system": system}
        config.write_text(json.dumps(content))  # YAML, too
        with pytest.raises(WeightsError) as caught:
            check_early(config)
        assert str(caught.value).startswith(f"system.guidance.{option}: weights nobody/nothing")
        assert "system.guidance.allow_download=true" in str(caught.value)
