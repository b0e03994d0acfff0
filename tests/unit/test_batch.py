"""Batches: what is listed, slices, the log, the page, kills and reruns."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from studio import progress
from studio.app.batch import check, config_name, takes
from studio.app.cli import main
from studio.errors import ConfigError, DataError, StudioError
from studio.jobs import Job, Phase, Record
from studio.jobs.batch import Batch, Part
from studio.jobs.items import Item, collect, folder_name, names
from studio.jobs.results import ResultsLog
from studio.jobs.sheet import write_sheet
from tests.conftest import REPOSITORY, environment
from tests.unit.job_tasks import custom_tasks

EPIDIFF = Job(config="epidiff-neus")
HOSTILE = "<img src=x onerror=alert(1)>\"'&.png"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, name in enumerate(["b.png", "a.png", "a.jpg", "B.webp", "a-2.png", HOSTILE]):
        Image.new("RGB", (16, 16), (10 * i, 0, 0)).save(folder / name.replace("/", "_"))
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").touch()
    return folder


@pytest.fixture(scope="module")
def naps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of custom plugins."""
    with custom_tasks(tmp_path_factory.mktemp("custom")) as folder:
        yield folder


# --- what is listed -------------------------------------------------------------------------------


def test_a_folder_of_pictures_has_stable_names(pictures: Path) -> None:
    items = collect(pictures, EPIDIFF, takes)
    found = {item.name: Path(item.job.inputs[0]).name for item in items}
    assert found == {
        "B": "B.webp",
        "a": "a.jpg",
        "a-2": "a-2.png",
        "a-3": "a.png",
        "b-2": "b.png",
        "img-src-x-onerror-alert-1": HOSTILE,
    }
    assert all(Path(item.job.inputs[0]).is_absolute() for item in items)
    assert {item.job.label for item in items} == {"B", "a", "a-2", "b", HOSTILE[:-4]}


def test_configs_are_found_wherever_the_job_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("epidiff-neus", str(REPOSITORY / "configs" / "epidiff-neus.yaml")):
        assert config_name(name) == "epidiff-neus"
    (tmp_path / "mine.yaml").write_text("name: mine")
    monkeypatch.chdir(tmp_path)
    assert config_name("mine.yaml") == str(tmp_path / "mine.yaml")
    assert config_name("nobody's") == "nobody's"


def test_names_are_safe_and_none_is_given_twice() -> None:
    labels = ["../../etc", "a/b", "a b", "", "results.jsonl", "é" * 90, "x", "x", "x-2", "X"]
    found = names([Job(label=label) for label in labels])
    assert found[:5] == ["etc", "a-b", "a-b-2", "item", "results-jsonl"]
    assert found[6:] == ["x", "x-3", "x-2", "X-4"]
    assert len({name.casefold() for name in found}) == len(found)
    assert all(len(name.encode()) <= 90 for name in found)
    assert folder_name("...") == "item"


def test_equal_pictures_are_found(pictures: Path) -> None:
    (pictures / "c.png").write_bytes((pictures / "b.png").read_bytes())
    same = {item.name: item.same_as for item in collect(pictures, EPIDIFF, takes)}
    assert same == {**dict.fromkeys(same, ""), "c": "b-2"}


def test_what_a_folder_holds_is_what_the_config_takes(pictures: Path, tmp_path: Path) -> None:
    posed = collect(REPOSITORY / "load" / "posed", Job(config="reconstruct"), takes)
    assert [(i.name, Path(i.job.inputs[0]).name) for i in posed] == [("car", "car")]
    several = Job(config="viewfusion-composable-neus")
    unposed = collect(REPOSITORY / "load" / "unposed", several, takes)
    assert {item.name: len(item.job.inputs) for item in unposed} == {"car": 3, "sofa-blue": 3}
    for job, folder, words in (
        (Job(config="reconstruct"), pictures, "captures, a folder each"),
        (Job(config="spad-neus"), pictures, "column `text`"),
        (EPIDIFF, tmp_path, "holds 0 pictures and 1 folders"),
        (Job(task="evaluate"), pictures, "a list"),
        (EPIDIFF, pictures / "b.png", "one picture needs no batch"),
        (EPIDIFF, tmp_path / "pictured", "did you mean"),
    ):
        with pytest.raises(DataError, match=words):
            collect(folder, job, takes)


def test_lists_say_what_is_done(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(
        "\ufeffpicture,label,seed,data.elevation_deg,task.previews\n"
        'in/a.png,"First, one",7,,yes\n/abs/b.png,,,20,\n'
    )
    first, second = collect(tmp_path / "list.csv", Job(config="c", options={"x.y": "1"}), takes)
    assert (first.name, first.job.label, first.job.seed) == ("First-one", "First, one", 7)
    assert first.job.inputs == [str(tmp_path / "in/a.png")]
    assert first.job.options == {"x.y": "1", "task.previews": "yes"}
    assert (second.name, second.job.inputs, second.job.seed) == ("b", ["/abs/b.png"], 0)
    assert second.job.options == {"x.y": "1", "data.elevation_deg": "20"}
    rows = [
        {"pictures": ["a.png", "b.png"], "data.ratio": 0.5, "steps": 3},
        {"text": "a red car", "config": "spad-neus"},
        {"pred": "p.glb", "reference": "r.obj", "label": "pair"},
        {"capture": "c", "reference": "r.obj"},
    ]
    (tmp_path / "list.jsonl").write_text("\n\n".join(json.dumps(row) for row in rows))
    found = [item.job for item in collect(tmp_path / "list.jsonl", Job(config="c"), takes)]
    assert [Path(p).name for p in found[0].inputs] == ["a.png", "b.png"]
    assert found[0].options == {"data.ratio": 0.5} and found[0].steps == 3
    assert (found[1].text, found[1].config, found[1].label) == (
        "a red car",
        "spad-neus",
        "a red car",
    )
    assert [Path(p).name for p in found[2].inputs] == ["p.glb", "r.obj"]
    assert found[3].options == {"task.reference": str(tmp_path / "r.obj")}


@pytest.mark.parametrize("between", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_lists_of_spreadsheets_are_read(between: str, encoding: str, tmp_path: Path) -> None:
    text = f'picture{between}label{between}seed\r\nä.png{between}"a{between} ""b"""{between}7\r\n'
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "list.csv").write_bytes((mark + text).encode(encoding))
    (item,) = collect(tmp_path / "list.csv", EPIDIFF, takes)
    assert item.job.inputs == [str(tmp_path / "ä.png")]
    assert (item.job.label, item.job.seed) == (f'a{between} "b"', 7)
    (tmp_path / "list.jsonl").write_bytes((mark + '{"text": "ä"}\r\n').encode(encoding))
    (item,) = collect(tmp_path / "list.jsonl", EPIDIFF, takes)
    assert item.job.text == "ä"


def test_a_list_in_another_encoding_is_refused_with_those_that_are_read(tmp_path: Path) -> None:
    for name in ("list.csv", "list.jsonl"):
        (tmp_path / name).write_bytes("picture\nä.png\n".encode("cp1252"))
        with pytest.raises(DataError, match=f"{name} cannot be read.*\n.*UTF-8"):
            collect(tmp_path / name, EPIDIFF, takes)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("l.csv", "picture,seed\na.png,one\n", r"l.csv line 2.seed is 'one'"),
        ("l.csv", "picture,sed\na.png,1\n", r"(?s)line 1: .*sed.*did you mean"),
        ("l.csv", "picture,lable\na.png,\n", r"(?s)line 1: .*lable.*did you mean 'label'"),
        ("l.csv", "picture,seed,seed\na.png,1,2\n", "line 1 has two columns 'seed'"),
        ("l.jsonl", '{"picture": "a"}\n{"pictur": "a"}', r"(?s)line 2: .*did you mean 'picture'"),
        ("l.csv", "picture\na.png,b\n", "line 2 has more cells"),
        ("l.csv", "picture,seed\na.png\n", "line 2 has fewer cells"),
        ("l.csv", "picture;seed\na;b.png;1\n", "(?s)line 2 has more cells.*with a semicolon"),
        ("l.csv", "picture,capture\na,b\n", "has picture and capture"),
        ("l.csv", "picture\n", "lists nothing"),
        ("l.jsonl", '{"picture": "a"}\n{"picture": \n', "line 2 is no JSON"),
        ("l.jsonl", "[1]", "line 1 is no JSON object"),
        ("l.jsonl", '{"picture": 3}', "picture is 3"),
        ("l.jsonl", '{"picture": ["a", "b"]}', "several go to `pictures`"),
        ("l.txt", "a", "a single file"),
    ],
)
def test_a_mistake_in_a_list_is_told_with_its_line(
    name: str, content: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(StudioError, match=words):
        collect(tmp_path / name, EPIDIFF, takes)


# --- slices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", [1, 3, 8, 30])
def test_slices_share_all_items_and_none_twice(of: int) -> None:
    items = [Item(str(i), Job(), "" if i % 4 else ("1" if i > 4 else "")) for i in range(20)]
    parts = [Part(i + 1, of).chosen(items) for i in range(of)]
    assert sorted(int(item.name) for part in parts for item in part) == list(range(20))
    assert parts == [Part(i + 1, of).chosen(items) for i in range(of)]
    with_one = next(part for part in parts if any(item.name == "1" for item in part))
    assert {item.name for item in with_one} >= {"1", "8", "12", "16"}


def test_a_slice_is_read_or_the_tasks_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Part.parse("3/8") == Part(3, 8) and Part.parse("") == Part(1, 1)
    for text in ("0/8", "9/8", "3", "a/b", "-1/2", "3/8/9"):
        with pytest.raises(ConfigError, match="1/8 to 8/8"):
            Part.parse(text)
    with pytest.raises(ConfigError, match="no task of a SLURM array"):
        Part.parse("auto")
    array = {"ID": "9", "MIN": "3", "MAX": "13", "STEP": "2", "COUNT": "6"}
    for name, value in array.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert Part.parse("auto") == Part(4, 6)
    assert Part.parse("") == Part(1, 1), "only if asked"
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "4")
    with pytest.raises(ConfigError, match="not numbered evenly"):
        Part.parse("auto")


# --- the log and the page -------------------------------------------------------------------------


def test_a_log_that_was_cut_off_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    lines = ['{"name": "a"}', '{"name": "a", "twice": 1}', "no JSON", '{"name": "old"}', '{"na']
    path.write_text("\n".join(lines))
    log = ResultsLog(path, lambda row: row["name"] != "old")
    assert path.read_text() == '{"name": "a"}\n'
    log.add({"name": "b"})
    assert path.read_text() == '{"name": "a"}\n{"name": "b"}\n'
    assert list(ResultsLog(path, lambda row: True).rows) == ["a", "b"]


def test_the_page_shows_hostile_names_as_text(tmp_path: Path) -> None:
    evil = "</li><script>alert(1)</script>"
    items = [Item("x", Job(label=evil)), Item("later", Job(label="later"))]
    record = Record.create(tmp_path / "x", items[0].job)
    record.note(phase=Phase.FAILED, error=evil, warnings=[evil])
    record.result.mkdir()
    (record.result / "model.glb").touch()
    Image.new("RGB", (1200, 600), "red").save(record.result / "preview.png")
    tags: list[tuple[str, dict[str, str | None]]] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append((tag, dict(attrs)))

    page = write_sheet(tmp_path, items).read_text()
    Tags().feed(page)
    assert "script" not in [tag for tag, _ in tags] and page.count("alert(1)") == 3
    assert [a["href"] for t, a in tags if t == "a"][:2] == [
        "x/result/model.glb",
        "x/result/preview.png",
    ]
    pictures = [a["src"] for t, a in tags if t == "img"]
    assert len(pictures) == 1 and str(pictures[0]).startswith("data:image/jpeg;base64,")
    assert "http:" not in page and "https:" not in page
    assert "1 failed, 1 waiting" in page


def test_items_of_one_label_are_told_apart(tmp_path: Path) -> None:
    items = [Item(name, Job(label="car")) for name in ("car", "car-2")]
    items.append(Item("sofa-a", Job(label="sofa a")))
    Record.create(tmp_path / "car-2", items[1].job).note(alarms=["the poses contradict"])
    page = write_sheet(tmp_path, items).read_text()
    for title in ("car", "car (car-2)", "sofa a"):
        assert f"<h2>{title}</h2>" in page
    assert '<pre class="alarm">the poses contradict</pre>' in page


# --- whole batches --------------------------------------------------------------------------------


def naps_list(folder: Path, count: int, **options: object) -> Path:
    rows = [{"text": f"t{i}", "task.figure": i, **options} for i in range(count)]
    path = folder / "naps.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def rows_of(out: Path, name: str = "results.jsonl") -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def test_a_batch_ends_with_its_log_its_page_and_its_code(
    naps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = naps_list(tmp_path, 4)
    with path.open("a") as file:
        print(f"\n{json.dumps({'label': 'bad', 'task.mistake': 'a.png'})}", file=file)
        print(json.dumps({"label": "worse", "task.mistake": "bug"}), file=file)
    words = ["batch", str(path), "task=nap", f"out={tmp_path / 'out'}", "workers=2", "seed=5"]
    assert main(words) == 3
    rows = {str(row["name"]): row for row in rows_of(tmp_path / "out")}
    assert sorted(rows) == ["bad", "t0", "t1", "t2", "t3", "worse"]
    assert [rows[f"t{i}"]["figures"]["figure"] for i in range(4)] == [0, 1, 2, 3]  # type: ignore[index]
    assert rows["t0"]["state"] == "done" and rows["t0"]["seed"] == 5
    assert rows["bad"]["error"] == "a.png is no good." and rows["bad"]["state"] == "failed"
    said = capsys.readouterr().out
    assert "4 of 6 done, 2 failed" in said and "again=true" in said
    assert said.splitlines()[-1] == str(tmp_path / "out" / "index.html")
    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    assert main(words) == 3
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before
    assert main([*words, "again=true", "retries=3"]) == 3
    again = rows_of(tmp_path / "out")
    assert len(again) == 6
    assert {row["name"]: row["attempts"] for row in again} == {
        **dict.fromkeys(rows, 1),
        "bad": 2,
        "worse": 2,
    }
    with pytest.raises(StudioError, match="t0 holds another job: seed is 5 there, 6 here"):
        Batch(collect(path, Job(task="nap", seed=6), takes), tmp_path / "out").run(None)  # type: ignore[arg-type]


def test_slices_on_machines_of_their_own_make_one_whole(naps: Path, tmp_path: Path) -> None:
    path, out = naps_list(tmp_path, 5), tmp_path / "out"
    for part in ("1/2", "2/2"):
        words = ["batch", str(path), "task=nap", f"out={out}", "workers=1", f"part={part}"]
        assert main(words) == 0
    rows = [*rows_of(out, "results-1-of-2.jsonl"), *rows_of(out, "results-2-of-2.jsonl")]
    assert sorted(str(row["name"]) for row in rows) == [f"t{i}" for i in range(5)]
    assert "5 items: 5 done" in (out / "index.html").read_text()


def test_a_killed_batch_goes_on_where_it_was(naps: Path, tmp_path: Path) -> None:
    path, out = naps_list(tmp_path, 12, **{"task.lasts": 0.25}), tmp_path / "out"
    words = ["batch", str(path), "task=nap", f"out={out}", "workers=2"]
    command = [sys.executable, str(REPOSITORY / "launch.py"), *words]

    def lines() -> list[bytes]:
        log = out / "results.jsonl"
        return log.read_bytes().splitlines(keepends=True) if log.is_file() else []

    def begun(name: object) -> int:
        return len((out / str(name) / "seen.txt").read_text().split())

    kept: list[bytes] = []
    counts: dict[object, int] = {}
    for sent, until in ((signal.SIGKILL, 2), (signal.SIGTERM, 5), (signal.SIGKILL, 8)):
        started = subprocess.Popen(
            command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 60
        while len(lines()) < until and time.monotonic() < end:
            time.sleep(0.02)
        started.send_signal(sent)
        assert started.wait(10) == (-9 if sent == signal.SIGKILL else 143)
        whole = [line for line in lines() if line.endswith(b"\n")]
        assert whole[: len(kept)] == kept
        kept = whole
        counts |= {row["name"]: begun(row["name"]) for row in map(json.loads, kept)}
    answer = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    rows = rows_of(out)
    assert lines()[: len(kept)] == kept
    assert sorted(str(row["name"]) for row in rows) == sorted(f"t{i}" for i in range(12))
    for row in rows:
        record = Record(out / str(row["name"]))
        assert 1 <= begun(row["name"]) <= int(str(row["attempts"])) == record.state.attempt
    assert counts == {name: begun(name) for name in counts}, "what was done is not done again"
    extra = sum(int(str(row["attempts"])) - 1 for row in rows)
    assert extra <= 3 * 2, "only what two workers were at when they were killed is done again"


def test_equal_items_are_carried_out_once(naps: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / name).write_text("same" if name != "b" else "diff")
    rows = [{"picture": f"in/{name}", "seed": 1} for name in "abc"]
    (tmp_path / "l.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert main(["batch", str(tmp_path / "l.jsonl"), "task=nap", f"out={out}", "workers=1"]) == 0
    found = {str(row["name"]): row for row in rows_of(out)}
    assert [found[n]["same_as"] for n in "abc"] == ["", "", "a"]
    assert not (out / "c" / "seen.txt").exists()
    assert (out / "c" / "result" / "nap.txt").read_text() == (out / "a/result/nap.txt").read_text()


def test_a_second_batch_in_the_same_folder_is_refused(naps: Path, tmp_path: Path) -> None:
    from studio.runs.lock import RunLock

    items = [Item("a", Job(task="nap"))]
    (tmp_path / "out").mkdir()
    lock = RunLock(tmp_path / "out").acquire()
    with pytest.raises(ConfigError, match=rf"in use by process {os.getpid()}.*\n.*out=\.\.\."):
        Batch(items, tmp_path / "out").run(None)  # type: ignore[arg-type]
    lock.release()


MISTAKES = {
    "did you mean epidiff-neus": ["config=epidif-neus"],
    "config=... has to be given": [],
    "data.elevation": ["config=epidiff-neus", "data.elevation=3"],
    "system.guidance.steps is 0": ["config=epidiff-neus", "system.guidance.steps=0"],
    "did you mean 'workers'": ["config=epidiff-neus", "worker=3"],
    "part is '9/8'": ["config=epidiff-neus", "part=9/8"],
    "local, ray": ["config=epidiff-neus", "executor=slurm"],
    "did you mean 'task.previews'": ["config=epidiff-neus", "task.preview=1"],
    "did you mean 'make'": ["config=epidiff-neus", "task=mak"],
    "'--fast'": ["config=epidiff-neus", "--fast"],
}


def test_mistakes_are_told_before_torch_is_loaded(pictures: Path, tmp_path: Path) -> None:
    code = (
        "import json, sys; from studio.app.cli import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    print('<', main(words), '>', file=sys.stderr)\n"
        "    assert 'torch' not in sys.modules, words"
    )
    common = ["batch", str(pictures), f"out={tmp_path / 'out'}"]
    given = json.dumps([[*common, *words] for words in MISTAKES.values()])
    answer = subprocess.run(
        [sys.executable, "-c", code, given], env=environment(), capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    told = answer.stderr.split("< 2 >")
    assert len(told) == len(MISTAKES) + 1, answer.stderr
    for said, text in zip(MISTAKES, told, strict=False):
        assert said in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("columns", "rows", "told"),
    [
        ("data.elevation_deg", ("20", "200"), "line 3: data.elevation_deg is 200"),
        ("data.elevatoin", ("20", "20"), "line 2: 'data.elevatoin' is not an option"),
        ("task.previw", ("", "yes"), "line 3: 'task.previw' is not an option"),
        ("config", ("", "epidif-neus"), "line 3: the config file epidif-neus"),
    ],
)
def test_a_mistake_of_a_row_names_its_line(
    columns: str, rows: tuple[str, str], told: str, pictures: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "list.csv"
    lines = [f"{pictures}/{name}.png,{value}" for name, value in zip("ab", rows, strict=True)]
    listed.write_text("\n".join([f"picture,{columns}", *lines]) + "\n")
    with pytest.raises(ConfigError, match=f"list.csv {told}"):
        check(collect(listed, EPIDIFF, takes))


def test_no_row_is_blamed_for_a_word_of_the_command(pictures: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text(f"picture,config\n{pictures / 'a.png'},epidiff-neus\n")
    words = {"data.elevatoin": "20"}
    with pytest.raises(ConfigError, match="^'data.elevatoin' is not an option"):
        check(collect(listed, Job(options=words), takes), words)


def test_what_is_at_work_is_shown(
    naps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(progress, "LINE_SECONDS", (0.05, 0.05))
    path = naps_list(tmp_path, 1, **{"task.lasts": 0.6})
    assert main(["batch", str(path), "task=nap", f"out={tmp_path / 'out'}", "workers=1"]) == 0
    assert re.search(r"batch: 0/1 .* at t0 \(napping \d+%\)", capsys.readouterr().out)


def test_an_item_whose_folder_goes_ends_no_batch(naps: Path, tmp_path: Path) -> None:
    """As where the disk is full: nobody can say what became of it."""
    path, out = naps_list(tmp_path, 2, **{"task.lasts": 0.6}), tmp_path / "out"

    def remove() -> None:
        while not (out / "t0" / "seen.txt").is_file():
            time.sleep(0.01)
        (out / "t0").rename(tmp_path / "gone")

    threading.Thread(target=remove).start()
    words = ["batch", str(path), "task=nap", f"out={out}", "workers=1"]
    assert main(words) == 3
    assert [row["name"] for row in rows_of(out)] == ["t1"]
    assert main(words) == 0
