"""Folders of weights for every method: shards, variants, the hub's cache, damaged configs."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.errors import StudioError, WeightsError
from studio.guidance.hub import cache_folder, locate
from studio.guidance.weight_files import find_weights
from studio.plugins.options import build
from studio.systems.generated import weight_paths
from tests.conftest import REPOSITORY
from tests.nano import SHIPPED, whole_nano

NANO = whole_nano()
METHODS = {
    "zero123": "zero123",
    "epidiff": "epidiff",
    "eschernet": "eschernet",
    "spad": "spad",
    "viewfusion-composable": "viewfusion-composable",
    "viewfusion-interpolated": "zero123-any",
}
REVISION = "0123456789abcdef0123456789abcdef01234567"


def copied(method: str, target: Path) -> dict[str, Any]:
    """Copy a method's nano weights (and EpiDiff's base); returns the options that name them."""
    shutil.copytree(NANO / METHODS[method], target / METHODS[method])
    options: dict[str, Any] = {"weights": str(target / METHODS[method])}
    if method == "epidiff":
        shutil.copytree(NANO / "zero123", target / "zero123")
    return options


def tensors_of(method: str, options: dict[str, Any]) -> dict[str, torch.Tensor]:
    model = build("guidance", method, options, key="system.guidance")
    return dict(model.state_dict())


@pytest.fixture(scope="module")
def truth() -> Callable[[str], dict[str, torch.Tensor]]:
    known: dict[str, dict[str, torch.Tensor]] = {}

    def of(method: str) -> dict[str, torch.Tensor]:
        if method not in known:
            known[method] = tensors_of(method, {"weights": str(NANO / METHODS[method])})
        return known[method]

    return of


def each_file(folder: Path) -> Iterator[tuple[Path, dict[str, torch.Tensor]]]:
    for path in sorted(folder.rglob("*.safetensors")):
        yield path, load_file(path)


# ---------------------------------------------------------------- a part in common


@pytest.mark.parametrize("method", ["zero123", "eschernet", "spad", "epidiff"])
def test_a_part_that_models_have_in_common_lies_beside_them(
    method: str, tmp_path: Path, truth: Callable[[str], dict[str, torch.Tensor]]
) -> None:
    for name in {METHODS[method], "zero123", "vae"}:
        shutil.copytree(SHIPPED / name, tmp_path / name)
    options = {"weights": str(tmp_path / METHODS[method])}
    assert (tmp_path / "vae").resolve() in [path.resolve() for path in weight_paths(options)]
    model = build("guidance", method, options)
    found = model.state_dict()
    assert found.keys() == truth(method).keys()
    assert all(torch.equal(found[key], value) for key, value in truth(method).items())
    (tmp_path / "alias").symlink_to(tmp_path / METHODS[method])
    tensors_of(method, {"weights": str(tmp_path / "alias")})
    if method != "epidiff":
        model.save_pretrained(tmp_path / "sent" / "alone")
        assert (tmp_path / "sent/alone/vae/config.json").is_file()
        tensors_of(method, {"weights": str(tmp_path / "sent" / "alone")})
    shutil.rmtree(tmp_path / "vae")
    with pytest.raises(WeightsError, match=f"{tmp_path.name}/vae do not exist"):
        build("guidance", method, options)


@pytest.mark.parametrize("named", ["../../elsewhere/vae", "/elsewhere/vae", "../zero123/../../vae"])
def test_a_part_in_common_lies_no_further_away(named: str, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "zero123"
    shutil.copytree(SHIPPED / "zero123", folder)
    for place in (tmp_path / "elsewhere/vae", tmp_path / "vae"):
        shutil.copytree(SHIPPED / "vae", place)
    named = named.replace("/elsewhere", f"{tmp_path}/elsewhere") if named[0] == "/" else named
    told = json.loads((folder / "config.json").read_text()) | {"vae_weights": named}
    (folder / "config.json").write_text(json.dumps(told))
    with pytest.raises(WeightsError, match="leads out of.*models"):
        build("guidance", "zero123", {"weights": str(folder)})


# ---------------------------------------------------------------- shards and variants


@pytest.mark.parametrize(
    ("method", "names"),
    [*((method, "numbered") for method in METHODS), ("spad", "any"), ("zero123", "no index")],
)
def test_sharded_weights_of_every_part(
    method: str, names: str, tmp_path: Path, truth: Callable[[str], dict[str, torch.Tensor]]
) -> None:
    options = copied(method, tmp_path)
    for path, tensors in list(each_file(tmp_path)):
        keys = sorted(tensors)
        shards = [keys[::3], keys[1::3], keys[2::3]]
        places = {}
        for number, shard in enumerate(shards, 1):
            name = f"{path.stem}-{number:05d}-of-00003.safetensors"
            name = f"piece{number}.safetensors" if names == "any" else name
            save_file({k: tensors[k].contiguous() for k in shard}, path.with_name(name))
            places.update(dict.fromkeys(shard, name))
        path.unlink()
        if names != "no index":
            index = {"metadata": {"total_size": 1}, "weight_map": places}
            path.with_name(f"{path.name}.index.json").write_text(json.dumps(index))
    found = tensors_of(method, options)
    assert found.keys() == truth(method).keys()
    assert all(torch.equal(found[key], value) for key, value in truth(method).items())


@pytest.mark.parametrize(("method", "given"), [*((m, "") for m in METHODS), ("epidiff", "fp16")])
def test_half_precision_variant_of_every_part(
    method: str,
    given: str,
    tmp_path: Path,
    truth: Callable[[str], dict[str, torch.Tensor]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = copied(method, tmp_path)
    for path, tensors in list(each_file(tmp_path)):
        half = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
        save_file(half, path.with_name(f"{path.stem}.fp16.safetensors"))
        path.unlink()
    with caplog.at_level(logging.INFO, "studio"):
        found = tensors_of(method, {**options, "variant": given})
    assert ("taking fp16" in caplog.text) is (given == "")
    for key, value in truth(method).items():
        assert found[key].dtype == value.dtype
        if value.is_floating_point():
            torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-4)


def test_the_full_precision_is_taken_unless_a_variant_is_asked_for(tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.fp16.safetensors", "pytorch_model.bin"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("model.bf16-00001-of-00002.safetensors", "model.bf16-00002-of-00002.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    assert [p.name for p in find_weights(tmp_path).files] == ["model.safetensors"]
    assert [p.name for p in find_weights(tmp_path, "fp16").files] == ["model.fp16.safetensors"]
    assert len(find_weights(tmp_path, "bf16").files) == 2
    with pytest.raises(WeightsError, match="bf16, fp16"):
        find_weights(tmp_path, "int8")


def test_old_names_of_sharded_variants(tmp_path: Path) -> None:
    names = [f"model-0000{i}-of-00002.fp16.safetensors" for i in (1, 2)]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    index = json.dumps({"weight_map": {"a": names[0], "b": names[1]}})
    (tmp_path / "model.safetensors.index.fp16.json").write_text(index)
    found = find_weights(tmp_path, "fp16")
    assert [p.name for p in found.files] == names and found.variant == "fp16"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"weight_map": {"a": "s1.safetensors", "b": "s2.safetensors"}}', "misses 1 of 2 shards"),
        ('{"weight_map": {"a": "../s1.safetensors"}}', "beside it"),
        ('{"weight_map": []}', "no weight_map"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_unfit_indices(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "s1.safetensors").write_bytes(b"x")
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(WeightsError, match=words):
        find_weights(tmp_path)


# ---------------------------------------------------------------- the hub's cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, whose place the environment tells; there is no network."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("huggingface_hub.snapshot_download", _no_network)
    return tmp_path / "hf" / "hub"


def _no_network(*_: object, **__: object) -> None:
    raise AssertionError("the network is asked")


def into_cache(cache: Path, repository: str, source: Path, main: bool = True) -> Path:
    """Lay a folder out as the hub's client does: blobs, and links to them in a snapshot."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / REVISION
    (folder / "blobs").mkdir(parents=True)
    for number, path in enumerate(p for p in sorted(source.rglob("*")) if p.is_file()):
        blob = folder / "blobs" / f"{number:064x}"
        shutil.copy(path, blob)
        link = snapshot / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    if main:
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(REVISION)
    return snapshot


@pytest.mark.parametrize("method", METHODS)
def test_a_repository_in_the_cache_loads_offline(
    method: str,
    cache: Path,
    truth: Callable[[str], dict[str, torch.Tensor]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    into_cache(cache, f"someone/{method}", NANO / METHODS[method])
    options = {"weights": f"someone/{method}"}
    if method == "epidiff":
        into_cache(cache, "another/base", NANO / "zero123")
        options["base"] = "another/base"
    with caplog.at_level(logging.INFO, "studio"):
        found = tensors_of(method, options)
    assert "from the hub's cache" in caplog.text
    assert all(torch.equal(found[key], value) for key, value in truth(method).items())


def test_parts_to_start_from_lie_in_the_cache_too(cache: Path) -> None:
    into_cache(cache, "a/sd", NANO / "zero123")
    into_cache(cache, "a/text", NANO / "spad" / "text_encoder")
    build("guidance", "zero123", {"vae_weights": "a/sd/vae"})
    build("guidance", "eschernet", {"vae_weights": "a/sd/vae", "unet_start": "a/sd/unet"})
    given = {"vae_weights": "a/sd/vae", "unet_start": "a/sd/unet", "text_start": "a/text"}
    build("guidance", "spad", given)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/huggingface/hub")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/huggingface/hub")
    monkeypatch.setenv("HF_HOME", "/hf")
    assert cache_folder() == Path("/hf/hub")
    monkeypatch.setenv("HF_HUB_CACHE", "/elsewhere")
    assert cache_folder() == Path("/elsewhere")


def test_snapshots_without_a_main_revision(cache: Path) -> None:
    snapshot = into_cache(cache, "a/b", NANO / "vae", main=False)
    assert locate("a/b") == snapshot
    with pytest.raises(WeightsError, match="there is no nothing.ckpt"):
        locate("a/b/nothing.ckpt")


def test_a_repository_of_one_file(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "model.ckpt").write_bytes(b"x")
    (tmp_path / "r" / "README.md").write_text("x")
    snapshot = into_cache(cache, "a/file", tmp_path / "r")
    assert locate("a/file") == locate("a/file/model.ckpt") == snapshot / "model.ckpt"


@pytest.mark.parametrize("text", ["load/nano/zero124", "load/nowhere", "tests/x.ckpt", "./a", "/b"])
@pytest.mark.parametrize("allow", [False, True])
def test_a_missing_path_is_never_called_a_repository(
    text: str, allow: bool, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(WeightsError, match="do not exist") as caught:
        locate(text, allow_download=allow)
    message = str(caught.value).replace("a repository of the hub, owner/name", "")
    assert "repository" not in message
    assert ("did you mean load/nano/zero123" in message) is (text == "load/nano/zero124")


def test_too_long_a_path() -> None:
    with pytest.raises(WeightsError, match="do not exist"):
        locate("a" * 5000)


# ---------------------------------------------------------------- damage

DAMAGE: list[tuple[str, str, str, Any]] = [
    ("zero123", "config.json", "resolution", "x"),
    ("zero123", "config.json", "train_timesteps", -5),
    ("zero123", "config.json", "resolution", -64),
    ("zero123", "vae/config.json", "act_fn", "x"),
    ("zero123", "vae/config.json", "scaling_factor", "x"),
    ("zero123", "vae/config.json", "norm_num_groups", 0),
    ("zero123", "unet/config.json", "layers_per_block", 10**9),
    ("zero123", "unet/config.json", "block_out_channels", {}),
    ("zero123", "unet/config.json", "norm_eps", "x"),
    ("zero123", "image_encoder/config.json", "num_attention_heads", {}),
    ("zero123", "image_encoder/config.json", "num_hidden_layers", 10**9),
    ("zero123", "clip_camera_projection/config.json", "embedding_dim", "x"),
    ("eschernet", "config.json", "cape", 7),
    ("eschernet", "unet/config.json", "time_embedding_type", None),
    ("eschernet", "image_encoder/config.json", "hidden_act", "x"),
    ("eschernet", "image_encoder/config.json", "depths", "x"),
    ("spad", "config.json", "radius", "x"),
    ("spad", "text_encoder/config.json", "initializer_range", "x"),
    ("spad", "tokenizer/words.json", "words", 3),
    ("spad", "tokenizer/words.json", "words", ["a"] * 100),
    ("spad", "tokenizer/words.json", "length", -1),
    ("spad", "camera_projection/config.json", "numbers", "x"),
    ("viewfusion-composable", "config.json", "channel_mults", "x"),
    ("viewfusion-composable", "config.json", "norm_groups", 0),
    ("viewfusion-composable", "config.json", "inner_channel", -1),
    ("viewfusion-composable", "config.json", "train_timesteps", 0),
    ("epidiff", "config.json", "k_near_views", "x"),
    ("epidiff", "config.json", "base", {}),
    ("epidiff", "config.json", "head_width", 0),
]


@pytest.mark.parametrize(("method", "file", "name", "value"), DAMAGE)
def test_an_impossible_value_is_one_clear_message(
    method: str, file: str, name: str, value: Any, tmp_path: Path
) -> None:
    options = copied(method, tmp_path)
    path = Path(options["weights"]) / file
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(StudioError) as caught:
        build("guidance", method, options, key="system.guidance")
    assert name in str(caught.value) or path.name in str(caught.value)


@pytest.mark.parametrize("method", METHODS)
def test_weights_that_are_not_finite_are_refused(method: str, tmp_path: Path) -> None:
    options = copied(method, tmp_path)
    for path, tensors in each_file(tmp_path):
        whole = path.read_bytes()
        name = next(k for k in sorted(tensors) if tensors[k].is_floating_point())
        save_file({**tensors, name: torch.full_like(tensors[name], torch.nan)}, path)
        with pytest.raises(WeightsError, match="not finite") as caught:
            build("guidance", method, options, key="system.guidance")
        assert name in str(caught.value) and path.name in str(caught.value)
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "method", ["zero123", "epidiff", "eschernet", "spad", "viewfusion-composable"]
)
def test_damaged_configs_of_every_part(method: str, tmp_path: Path) -> None:
    options = copied(method, tmp_path)
    rng = np.random.default_rng(0)
    for path in sorted(Path(options["weights"]).rglob("*.json")):
        if path.name in ("model_index.json", "scheduler_config.json", "knows.json"):
            continue
        whole = path.read_bytes()
        place = int(rng.integers(2, len(whole) - 2))
        for content in (
            whole[:place] + b"\xff\xd3" + whole[place:],
            whole[:place],
            b"[" * 100_000,
            b"[1, 2]",
            b'{"resolution": NaN}',
            b"",
        ):
            path.write_bytes(content)
            with pytest.raises(WeightsError) as caught:
                build("guidance", method, options, key="system.guidance")
            assert path.name in str(caught.value)
        path.write_bytes(whole)
    build("guidance", method, options, key="system.guidance")
