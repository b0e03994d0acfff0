"""The NMR data set: every form on disk, draws of views, cameras, shards."""

from __future__ import annotations

import importlib.util
import math
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from studio.app.cli import main
from studio.data.training import nmr_shards
from studio.data.training.batches import ItemBatches, Parts
from studio.data.training.nmr import Draw, NMRData, NMRViews, fixed_order
from studio.data.training.nmr_archive import Shards, Zipped, open_archive
from studio.data.training.nmr_cameras import nmr_ring, read_cameras
from studio.data.training.nmr_index import CAMERAS, VIEWS
from studio.data.training.nmr_shards import even_parts
from studio.data.training.nmr_stream import StreamedViews
from studio.errors import ConfigError, DataError
from studio.plugins.parsing import parse_config
from studio.runs.folder import RUN_VARIABLE
from tests.nmr_files import SIZE, authors_shards, cameras, colour, write_archive, zipped

COUNTS = {"train": (5, 4, 2), "val": (1, 0, 0), "test": (2, 1, 1)}


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("nmr"), COUNTS)


@pytest.fixture(scope="module")
def packed(top: Path) -> Path:
    return zipped(top)


def views(root: Path, split: str = "train", **options: Any) -> NMRViews:
    return NMRData(NMRData.Config(root=str(root), resolution=SIZE, **options)).views(split)


def seen(picture: torch.Tensor) -> tuple[int, ...]:
    """The colour of a picture in [-1, 1]."""
    return tuple(((picture[:, 0, 0] + 1) * 127.5).round().int().tolist())


def prepare(source: Path, out: Path, *words: str) -> Shards:
    assert main(["--prepare", "nmr", f"source={source}", f"out={out}", *words]) == 0
    shards = open_archive(out, "softras" if "lists=softras" in words else "official")
    assert isinstance(shards, Shards)
    return shards


# --- forms on disk --------------------------------------------------------------------------------


def test_folder_zip_and_shards_hold_the_same(top: Path, packed: Path, tmp_path: Path) -> None:
    folder, packed_one = open_archive(top), open_archive(packed)
    shards = prepare(packed, tmp_path / "shards", "shards=3")
    for split in COUNTS:
        keys = folder.keys(split)
        assert len(keys) == sum(COUNTS[split])
        assert packed_one.keys(split) == keys
        assert sorted(shards.keys(split)) == sorted(keys)
        for key in keys:
            for member in (0, 23, CAMERAS):
                content = folder.read(key, member)
                assert packed_one.read(key, member) == content == shards.read(key, member)
    assert folder.keys("train")[0] == "02691156-o0", "keys of metadata.yaml stay strings"
    assert folder.names == packed_one.names == shards.names
    assert open_archive(top.parent).keys("val") == folder.keys("val"), "the folder above it"


def test_softras_lists_are_other_splits(top: Path, packed: Path, tmp_path: Path) -> None:
    for root in (top, packed):
        keys = open_archive(root, "softras").keys("train")
        official = open_archive(root).keys("train")
        firsts = [official[0], official[COUNTS["train"][0]], official[-COUNTS["train"][2]]]
        assert keys == [k for k in official if k not in firsts]
    assert len(prepare(top, tmp_path / "s", "lists=softras").keys("train")) == 8
    with pytest.raises(DataError, match="was made from the softras lists"):
        open_archive(tmp_path / "s")


def test_categories_by_name_or_synset(top: Path) -> None:
    archive = open_archive(top)
    assert {k[:8] for k in archive.keys("train", ["car", "03001627"])} == {"02958343", "03001627"}
    assert {k[:8] for k in archive.keys("train", (), ["airplane,plane"])} == {
        "02958343",
        "03001627",
    }
    with pytest.raises(DataError, match=r"no category 'cra'[\s\S]*chair \(03001627\)"):
        archive.keys("train", ["cra"])
    with pytest.raises(DataError, match="no objects"):
        views(top, "val", categories=["chair"])


def test_shards_of_the_authors_are_read(top: Path, tmp_path: Path) -> None:
    folder = open_archive(top)
    keys = {split: folder.keys(split) for split in COUNTS}
    shards = open_archive(authors_shards(top, tmp_path / "theirs", keys, limit=2))
    empty = tmp_path / "theirs" / "NMR-test-02.tar"
    assert empty.stat().st_size == 0
    with tarfile.open(tmp_path / "theirs" / "NMR-test-00.tar") as shard:
        assert len(shard.getnames()) == 2 * (VIEWS + 1)
    assert {split: shards.keys(split) for split in COUNTS} == keys
    for key in keys["train"]:
        assert shards.read(key, 7) == folder.read(key, 7)


def test_an_object_in_two_shards_is_refused(top: Path, tmp_path: Path) -> None:
    prepare(top, tmp_path / "s", "shards=2")
    (tmp_path / "s" / "NMR-train-02.tar").write_bytes(
        (tmp_path / "s" / "NMR-train-00.tar").read_bytes()
    )
    with pytest.raises(DataError, match="in two shards"):
        open_archive(tmp_path / "s")


def test_index_is_kept_and_built_anew_when_files_change(packed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "NMR_Dataset.zip"
    copy.write_bytes(packed.read_bytes())
    key = open_archive(copy).keys("train")[0]
    kept = tmp_path / "NMR_Dataset.zip.index.npz"
    before = kept.stat().st_mtime_ns
    assert open_archive(copy).read(key, 3)[:4] == b"\x89PNG"
    assert kept.stat().st_mtime_ns == before
    with zipfile.ZipFile(copy, "a") as archive:
        archive.writestr("NMR_Dataset/02691156/new/image/0000.png", b"new")
    again = open_archive(copy)
    assert isinstance(again, Zipped)
    assert again.files.read("02691156-new", 0) == b"new"
    kept.write_bytes(b"broken")
    assert open_archive(copy).keys("train")[0] == key


def test_damage_is_named(top: Path, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_archive(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds nothing of the kind"):
        open_archive(tmp_path)
    (tmp_path / "NMR_Dataset.zip").write_bytes(packed.read_bytes()[:5000])
    with pytest.raises(DataError, match="cannot be read: BadZipFile"):
        open_archive(tmp_path / "NMR_Dataset.zip")
    prepare(top, tmp_path / "cut", "shards=2")
    shard = tmp_path / "cut" / "NMR-train-00.tar"
    whole = shard.read_bytes()
    for length in (40 * 512 + 600, 41 * 512):  # within a member, and after a header
        shard.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"NMR-train-00.tar (is cut short|cannot be read)"):
            open_archive(tmp_path / "cut")
    shard.write_bytes(whole[: 40 * 512])  # as if the writer had stopped after a member
    with pytest.raises(DataError, match=r"NMR-train-00.tar holds no view 20 of"):
        open_archive(tmp_path / "cut")


def test_missing_view_is_named(tmp_path: Path) -> None:
    top = write_archive(tmp_path, {"train": (1, 0, 0), "val": (0, 0, 0), "test": (0, 0, 0)})
    (top / "02691156" / "o0" / "image" / "0005.png").unlink()
    with pytest.raises(DataError, match=r"NMR_Dataset.zip holds no view 5 of 02691156-o0"):
        open_archive(zipped(top))
    assert main(["--prepare", "nmr", f"source={top}", f"out={tmp_path / 'out'}"]) == 2


# --- shards ---------------------------------------------------------------------------------------


def test_shards_are_complete_shuffled_even_and_repeatable(top: Path, tmp_path: Path) -> None:
    first = prepare(top, tmp_path / "a", "shards=3", "seed=1")
    prepare(top, tmp_path / "b", "shards=3", "seed=1")
    prepare(top, tmp_path / "c", "shards=3", "seed=2")
    names = sorted(p.name for p in (tmp_path / "a").glob("*.tar"))
    assert names[2:5] == ["NMR-train-00.tar", "NMR-train-01.tar", "NMR-train-02.tar"]
    same = [(tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names]
    assert all(same)
    other = (tmp_path / "c" / "NMR-train-00.tar").read_bytes()
    assert other != (tmp_path / "a" / "NMR-train-00.tar").read_bytes()
    counts = np.bincount(first.files.index.file)
    train = [counts[i] for i, n in enumerate(names) if "train" in n]
    assert sum(train) == 11 and max(train) - min(train) <= 1
    with tarfile.open(tmp_path / "a" / "NMR-train-00.tar") as shard:
        members = shard.getmembers()
        assert [m.name.partition(".")[2] for m in members[:25]] == [
            *(f"{i:04d}.png" for i in range(24)),
            "cameras",
        ]
        assert (members[0].mode, members[0].uname, members[0].mtime) == (0o444, "bigdata", 0)
    unfinished = (tmp_path / "a" / "NMR-train-00.tar").read_bytes()
    assert unfinished.endswith(bytes(1024)), "closed by two empty blocks"
    assert main(["--prepare", "nmr", f"source={top}", f"out={tmp_path / 'a'}"]) == 2


def test_a_killed_prepare_goes_on_and_its_half_is_not_taken_for_whole(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--prepare", "nmr", f"source={top}", f"out={tmp_path / 'a'}", "shards=2", "seed=1"]
    write, written = nmr_shards.write_shard, []

    def killed(archive: Any, keys: Any, path: Path) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(archive, keys, path)

    monkeypatch.setattr(nmr_shards, "write_shard", killed)
    assert main(words) == 130
    monkeypatch.setattr(nmr_shards, "write_shard", write)
    with pytest.raises(DataError, match="not written to its end"):
        open_archive(tmp_path / "a")
    assert main([*words[:-1], "seed=2"]) == 2  # another order would not fit
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "a").glob("*.tar")}
    assert len(kept) == 2
    prepare(top, tmp_path / "a", "shards=2", "seed=1")
    prepare(top, tmp_path / "b", "shards=2", "seed=1")
    for path in (tmp_path / "b").glob("*.tar"):
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()
    assert all((tmp_path / "a" / n).stat().st_mtime_ns == t for n, t in kept.items())
    assert (tmp_path / "a" / "index.json").read_text() == (
        tmp_path / "b" / "index.json"
    ).read_text()
    assert not (tmp_path / "a" / "unfinished.json").exists()


def test_a_prepare_killed_before_its_last_step_goes_on(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--prepare", "nmr", f"source={top}", f"out={tmp_path / 'a'}", "shards=2"]

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(nmr_shards, "remove", killed)
    assert main(words) == 130
    monkeypatch.undo()
    assert main(words) == 0
    assert sorted(p.name for p in (tmp_path / "a").iterdir() if p.suffix != ".tar") == [
        "index.json",
        "index.npz",
    ]


def test_percent_drops_objects_of_all_categories(tmp_path: Path) -> None:
    top = write_archive(tmp_path, {"train": (8, 8, 8), "val": (0, 0, 0), "test": (0, 0, 0)}, 2)
    shards = prepare(top, tmp_path / "half", "percent=50", "shards=2", "withhold=chair")
    keys = shards.keys("train")
    assert len(keys) == 8 and {k[:8] for k in keys} == {"02691156", "02958343"}
    assert shards.info["withheld"] == ["03001627"]


@pytest.mark.parametrize(("objects", "shards"), [(0, 4), (1, 4), (3, 4), (10, 4), (11, 3)])
def test_parts_are_even(objects: int, shards: int) -> None:
    parts = even_parts([str(i) for i in range(objects)], shards)
    assert [k for part in parts for k in part] == [str(i) for i in range(objects)]
    if objects > 1:
        sizes = [len(p) for p in parts]
        assert min(sizes) >= 2 and max(sizes) - min(sizes) <= 1 and len(sizes) <= shards


def test_words_of_prepare_are_checked(top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = f"source={top}"
    for words in ([], [given, "percent=0"], [given, "lists=other"], [given, "seed=-1"]):
        assert main(["--prepare", "nmr", *words]) == 2
    assert main(["--prepare", "nmr", "--train", f"source={top}"]) == 2
    assert "stands alone" in capsys.readouterr().err


# --- items ----------------------------------------------------------------------------------------


def test_item_is_made_of_the_drawn_views(packed: Path) -> None:
    data = views(packed, inputs=3, targets=2)
    order = torch.arange(VIEWS).roll(5)  # targets 19, 20, inputs 21, 22, 23
    item = data.item(4, Draw(order))
    key = data.keys[4]
    assert [seen(p) for p in item["images"]] == [colour(key, 19), colour(key, 20)]
    assert [seen(p) for p in item["ref_images"]] == [colour(key, v) for v in (21, 22, 23)]
    assert torch.equal(item["cond_image"], item["ref_images"][0])
    torch.testing.assert_close(item["angle"], torch.tensor([19, 20]) * 2 * math.pi / 24)
    torch.testing.assert_close(item["relative_angle"], torch.tensor([2, 1]) * 2 * math.pi / 24)
    ring = nmr_ring(SIZE)
    azimuth, elevation, radius = ring.spherical()
    assert torch.equal(item["c2w"], ring.c2w[[19, 20]])
    assert torch.equal(item["ref_c2w"], ring.c2w[[21, 22, 23]])
    torch.testing.assert_close(azimuth, (torch.arange(24) * -15.0) % 360, atol=1e-3, rtol=0)
    torch.testing.assert_close(elevation, torch.full((24,), 30.0))
    torch.testing.assert_close(radius, torch.full((24,), 2.732))


def test_only_the_views_that_are_used_are_read(packed: Path, monkeypatch: Any) -> None:
    data, read = views(packed, inputs=2), []
    original = data.archive.read
    monkeypatch.setattr(data.archive, "read", lambda k, m: read.append(m) or original(k, m))
    data.item(0, Draw(torch.arange(VIEWS)))
    assert read == [0, 1, 2]


def test_drawn_anew_the_target_may_be_an_input(packed: Path) -> None:
    again = torch.arange(VIEWS).roll(-5)  # positions: 5 is taken for the target, inputs from 6 on
    again[[1, 19]] = again[[19, 1]]  # position 0, the target, comes first among the inputs
    draw = Draw(torch.arange(VIEWS).roll(3), again)
    right, released = (
        views(packed, settings=s, inputs=2).item(0, draw) for s in ("right", "released")
    )
    key = views(packed).keys[0]
    assert seen(right["images"][0]) == seen(right["ref_images"][0]) == colour(key, 21)
    assert torch.equal(right["ref_images"], released["ref_images"])
    assert right["relative_angle"] == 0.0
    torch.testing.assert_close(
        released["relative_angle"], torch.tensor([(0 - 5) * 2 * math.pi / 24])
    )


def test_training_items_follow_the_global_generator_and_others_the_key(packed: Path) -> None:
    data = views(packed, repeat_target=0.5)
    torch.manual_seed(0)
    first = [data[0] for _ in range(3)]
    torch.manual_seed(0)
    second = [data[0] for _ in range(3)]
    assert all(torch.equal(a["images"], b["images"]) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0]["ref_images"], first[1]["ref_images"])
    test = views(packed, "test", val_targets=3)
    torch.manual_seed(1)
    one = test[1]
    assert torch.equal(one["images"], test[1]["images"])
    order = fixed_order(test.keys[1])
    assert [seen(p) for p in one["images"]] == [colour(test.keys[1], int(v)) for v in order[:3]]


def test_the_target_is_among_the_inputs_as_often_as_asked(packed: Path) -> None:
    def share(chance: float) -> float:
        data = views(packed, repeat_target=chance, inputs=23, val_targets=1)
        torch.manual_seed(0)
        items = [data[i % len(data)] for i in range(80)]
        found = [any(torch.equal(p, i["images"][0]) for p in i["ref_images"]) for i in items]
        return float(np.mean(found))

    assert share(0.0) == 0.0
    assert 0.3 < share(0.5) < 0.65  # 23 of 24 of the repeated ones


def test_batches_are_disjoint_over_processes_and_workers_change_nothing(packed: Path) -> None:
    data = views(packed, inputs=1, repeat_target=0.0)

    def stream(rank: int, world: int, workers: int = 0) -> list[dict[str, Any]]:
        batches = ItemBatches(data, 1, 3, lambda: 0, Parts.of_process(rank, world))
        loader = iter(DataLoader(batches, batch_size=None, num_workers=workers))
        return [next(loader) for _ in range(5)]

    def objects(batches: list[dict[str, Any]]) -> list[tuple[int, ...]]:
        return [seen(b["images"][0, 0])[1:] for b in batches]

    ranks = [objects(stream(rank, 2)) for rank in range(2)]
    assert len({*ranks[0], *ranks[1]}) == 10, "one epoch has 11 objects: no object twice"
    alone, helped = stream(0, 2), stream(0, 2, workers=2)
    for a, b in zip(alone, helped, strict=True):
        assert torch.equal(a["images"], b["images"]) and a["part"] == b["part"]


def test_opened_files_are_not_shared_with_other_processes(packed: Path) -> None:
    data = views(packed)
    data[0]
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(
        again.item(1, Draw(torch.arange(VIEWS)))["images"],
        data.item(1, Draw(torch.arange(VIEWS)))["images"],
    )


def test_pictures_of_other_sizes_are_resized(packed: Path) -> None:
    data = NMRData(NMRData.Config(root=str(packed), resolution=16)).views("val")
    item = data[0]
    assert item["images"].shape == (4, 3, 16, 16)
    assert item["intrinsics"][0, 0, 2] == 8.0


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"targets is 4 and inputs 21"):
        NMRData(NMRData.Config(targets=4, inputs=21))
    with pytest.raises(ConfigError, match=r"data.lists is 'srt'"):
        parse_config(NMRData.Config, {"lists": "srt"}, key="data")


# --- cameras --------------------------------------------------------------------------------------


def test_cameras_of_the_file_are_the_ring(packed: Path) -> None:
    data = views(packed, cameras="file")
    stored, ring = data.cameras(0), nmr_ring(SIZE)
    torch.testing.assert_close(stored.c2w, ring.c2w, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(stored.intrinsics, ring.intrinsics, atol=1e-4, rtol=1e-5)


def test_cameras_with_y_down_are_posed_alike() -> None:
    found, ring = read_cameras(cameras(y_up=False), 64), nmr_ring(64)
    torch.testing.assert_close(found.c2w, ring.c2w, atol=1e-5, rtol=1e-5)


def test_broken_cameras_are_named() -> None:
    with pytest.raises(DataError, match="somewhere cannot be read"):
        read_cameras(b"nothing", 64, "somewhere")


# --- webdataset -----------------------------------------------------------------------------------


def streamed(top: Path, out: Path, **options: Any) -> StreamedViews:
    prepare(top, out, "shards=4")
    cfg = NMRData.Config(
        root=str(out),
        resolution=SIZE,
        inputs=2,
        stream=f"{out}/NMR-train-{{00..03}}.tar",
        **options,
    )
    data = NMRData(cfg).dataset("train")
    assert isinstance(data, StreamedViews)
    return data


def test_streaming_needs_webdataset(top: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="webdataset is not installed"):
        streamed(top, tmp_path / "shards")


def test_streams_of_processes_are_even_and_disjoint(top: Path, tmp_path: Path) -> None:
    data = streamed(top, tmp_path / "shards")

    def objects(rank: int, world: int, workers: int = 0, seed: int = 0) -> list[tuple[int, ...]]:
        batches = data.batches(2, seed, lambda: 0, Parts.of_process(rank, world))
        loader = iter(DataLoader(batches, batch_size=None, num_workers=workers))
        return [seen(p)[1:] for _ in range(8) for p in next(loader)["images"][:, 0]]

    ranks = [objects(rank, 2) for rank in range(2)]
    assert [len(r) for r in ranks] == [16, 16], "as many batches as are asked for"
    assert not set(ranks[0]) & set(ranks[1])
    assert len(set(ranks[0]) | set(ranks[1])) == 11, "all objects"
    assert ranks[0] == objects(0, 2) != objects(0, 2, seed=1)
    helped = objects(0, 2, workers=2)
    assert set(helped) == set(ranks[0])
    with pytest.raises(ConfigError, match="4 shards for 5 processes"):
        objects(0, 5)


def test_a_stream_leaves_categories_out(top: Path, tmp_path: Path) -> None:
    data = streamed(top, tmp_path / "shards", withhold=["airplane"])
    stream = iter(data.batches(1, 0, lambda: 0, Parts()))
    blue = {seen(next(stream)["images"][0, 0])[2] for _ in range(20)}
    assert blue == {80, 160}


# --- training -------------------------------------------------------------------------------------

TRAINING = """
name: nmr
tag: t
use_timestamp: false
data_type: nmr
data: {{root: {root}, resolution: 8, inputs: 2, val_targets: 3}}
system_type: guidance-training
system:
  guidance_type: viewfusion-composable
  guidance:
    resolution: 8
    patch: 1
    inner_channel: 16
    channel_mults: [1]
    attn_res: []
    norm_groups: 8
    max_views: 2
    steps: 1
  frame: object
  references: 2
  batch_size: 2
  validation_objects: 1
trainer: {{max_steps: 2, accelerator: cpu, threads: 1, checkpoint_every: 0, preview_every: 2}}
"""


def test_the_zip_can_be_trained_from(packed: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(RUN_VARIABLE, raising=False)
    Path("nmr.yaml").write_text(TRAINING.format(root=packed))
    assert main(["--config", "nmr.yaml", "--train"]) == 0
    with Image.open("outputs/nmr/t/save/step=00000002.png") as sheet:
        assert sheet.size == (3 * 8, 2 * 8), "three targets, made above true"
    assert main(["--config", "nmr.yaml", "--train", "data.root=nowhere"]) == 2
