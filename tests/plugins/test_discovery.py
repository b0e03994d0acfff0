"""Plugins from custom/ and from pip: found, failing, doubled, disabled, oddly named."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.app.cli import main
from studio.errors import PluginError
from studio.plugins import discovery as plugins
from studio.plugins.discovery import available, find
from studio.plugins.importing import resting_collector
from studio.plugins.options import build
from studio.plugins.sources import sanitise

SOURCE = '''
from dataclasses import dataclass
{imports}
from studio.export.base import Exporter
from studio.plugins import register


@register("exporter", "{name}")
class Made(Exporter):
    """{summary}"""

    @dataclass
    class Config:
        size: int = 1

    def __init__(self, cfg):
        self.cfg = cfg

    def export(self, source, views, folder, input_picture=None, originals=(), notes=()):
        return {{}}
'''

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_plugins: None) -> Write:
    """Write a plugin into custom/ of an empty working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "custom").mkdir()

    def put(where: str, name: str = "made", imports: str = "", summary: str = "Made.") -> Path:
        path = tmp_path / "custom" / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SOURCE.format(name=name, imports=imports, summary=summary))
        plugins.reset()
        return path

    return put


@pytest.mark.parametrize(
    "where",
    [
        "made.py",
        "my-method.py",
        "my-method/__init__.py",
        "my method 2.0/__init__.py",
        "3d-thing/inner/exporter.py",
        "loose-files/exporter.py",
    ],
)
def test_any_file_or_folder_name_works(write: Write, where: str) -> None:
    write(where)
    assert "made" in available("exporter")
    assert build("exporter", "made", {"size": 4}, key="x").cfg.size == 4


def test_relative_imports_between_loose_files(write: Write) -> None:
    write("two-files/made.py", imports="from .helper import VALUE")
    Path("custom/two-files/helper.py").write_text("VALUE = 3\n")
    plugins.reset()
    assert sys.modules[find("exporter", "made").__module__].VALUE == 3


@pytest.mark.parametrize(
    "where",
    [
        "made_disabled.py",
        "made_disabled/__init__.py",
        "__pycache__/made.py",
        ".hidden/made.py",
        "README.md",
    ],
)
def test_what_is_no_plugin_is_ignored(write: Write, where: str) -> None:
    write(where)
    assert "made" not in available("exporter")
    assert not plugins.catalogue().failures


@pytest.mark.parametrize(
    ("imports", "reason"),
    [
        ("import not_installed_anywhere", "No module named 'not_installed_anywhere'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def (", "broken.py, line 3: invalid syntax"),
        ("from studio.plugins.registry import nothing", "cannot import name 'nothing'"),
    ],
)
def test_a_failing_plugin_is_named_and_stops_no_other(
    write: Write, imports: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("good.py", name="good")
    write("broken.py", name="broken", imports=imports)
    assert find("exporter", "good").__name__ == "Made"
    with pytest.raises(PluginError) as caught:
        find("exporter", "goood")
    assert "did you mean 'good'?" in str(caught.value)
    assert f"custom/broken.py failed to load: {reason}" in str(caught.value)
    with pytest.raises(PluginError, match=re.escape(reason)):
        find("exporter", "broken")
    assert main(["--list"]) == 0
    text = capsys.readouterr().out
    assert f"custom/broken.py: {reason}" in text
    assert "good " in text


def test_list_names_missing_packages_without_importing(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("broken.py", imports="import not_installed_anywhere\nprint('imported')")
    assert main(["--list"]) == 0
    text = capsys.readouterr().out
    assert "DOES NOT WORK: No module named 'not_installed_anywhere'" in text
    assert "imported\n" not in text


def test_list_verbose_shows_tracebacks(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("broken.py", imports="{}['key']")
    assert main(["--list", "--verbose"]) == 0
    text = capsys.readouterr().out
    assert "Traceback" in text
    assert "custom/broken.py: KeyError: 'key'" in text


def test_a_doubled_name_names_both_origins(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("one.py")
    write("two.py")
    write("other.py", name="other")
    with pytest.raises(PluginError, match=r"twice: by custom/one\.py and by custom/two\.py"):
        find("exporter", "made")
    assert find("exporter", "other")  # the rest still works
    assert main(["--list"]) == 0
    assert "taken twice: custom/one.py and custom/two.py" in capsys.readouterr().out


def test_a_custom_plugin_cannot_replace_a_built_in_one(write: Write) -> None:
    path = write("mine.py")
    path.write_text(path.read_text().replace('"exporter", "made"', '"data", "transforms"'))
    plugins.reset()
    with pytest.raises(PluginError, match=r"by studio/data/layouts/\w+\.py and by custom/mine\.py"):
        find("data", "transforms")


def test_two_folders_with_the_same_module_name(write: Write) -> None:
    write("a-b.py", name="first")
    write("a_b.py", name="second")
    assert find("exporter", "first")
    with pytest.raises(PluginError, match=r"a_b\.py failed to load: its module name"):
        find("exporter", "secnd")


def test_another_folder_by_environment(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("made.py")
    Path("custom").rename("elsewhere")
    plugins.reset()
    assert "made" not in available("exporter")
    monkeypatch.setenv("STUDIO_CUSTOM", str(tmp_path / "elsewhere"))
    plugins.reset()
    assert "made" in available("exporter")
    monkeypatch.setenv("STUDIO_CUSTOM", str(tmp_path / "nowhere"))
    plugins.reset()
    with pytest.raises(PluginError, match="STUDIO_CUSTOM is .*nowhere"):
        available("exporter")


@pytest.fixture
def pip_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write) -> str:
    """An installed package that offers a plugin; Python finds it by its dist-info folder."""
    site = tmp_path / "site"
    (site / "pip_plugin").mkdir(parents=True)
    (site / "pip_plugin" / "__init__.py").write_text(
        SOURCE.format(name="from-pip", imports="", summary="Out of a package.")
    )
    info = site / "pip_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pip-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[studio.plugins]\nanything = pip_plugin\n")
    monkeypatch.syspath_prepend(str(site))
    plugins.reset()
    yield "pip_plugin"
    sys.modules.pop("pip_plugin", None)
    from studio.plugins.registry import forget

    forget("pip_plugin")


def test_pip_plugins_are_listed_without_import(
    pip_package: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--list"]) == 0
    text = capsys.readouterr().out
    assert "from-pip" in text
    assert "pip package pip-plugin (pip_plugin)" in " ".join(text.split())
    assert pip_package not in sys.modules
    assert find("exporter", "from-pip").__module__ == pip_package


@pytest.mark.parametrize(
    ("name", "module"), [("my-method", "my_method"), ("3d", "_3d"), ("a b.c", "a_b_c")]
)
def test_sanitise(name: str, module: str) -> None:
    assert sanitise(name) == module
    assert module.isidentifier()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("raise SystemExit(0)", "ends the program"),
        ("import sys; sys.exit(3)", "ends the program"),
        ("import os; os._exit(0)", "ends the program"),
        ("class Odd(BaseException): pass\nraise Odd('x')", "Odd: x"),
        ("1 / 0", "ZeroDivisionError"),
        ("def f(): f()\nf()", "nested too deeply"),
    ],
)
def test_a_plugin_cannot_end_the_program(
    write: Write, line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("ending.py", name="ending")
    with Path("custom/ending.py").open("a") as file:
        file.write(f"\n{line}\n")
    plugins.reset()
    leave = os._exit
    assert main(["--list"]) == 0
    assert main(["--list", "--verbose"]) == 0
    assert words in capsys.readouterr().out
    with pytest.raises(PluginError, match=words):
        build("exporter", "ending", {}, key="x")
    assert os._exit is leave


def test_a_plugin_that_exits_when_it_is_built(write: Write) -> None:
    write("later.py", name="later")
    path = Path("custom/later.py")
    path.write_text(path.read_text().replace("self.cfg = cfg", "raise SystemExit(0)"))
    plugins.reset()
    with pytest.raises(PluginError, match="ends the program"):
        build("exporter", "later", {}, key="x")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_children_of_a_plugin_end_as_they_want(write: Write) -> None:
    write("forking.py", imports="import os\nif not (child := os.fork()): os._exit(7)")
    module = sys.modules[find("exporter", "made").__module__]
    assert os.waitstatus_to_exitcode(os.waitpid(module.child, 0)[1]) == 7


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p.symlink_to("nowhere.py"), "odd.py cannot be read"),
        (lambda p: os.mkfifo(p), "not a file"),
        (lambda p: p.write_bytes(b"x = '\xff'"), "odd.py is not UTF-8"),
        (lambda p: p.write_text("x=" + "-" * 100_000 + "1"), "nested too deeply"),
        (lambda p: p.write_text("x=" + "(" * 1000 + ")" * 1000), "odd.py"),
        (lambda p: p.write_bytes(b"x = 1\0"), "null bytes"),
    ],
)
@pytest.mark.parametrize("folder", ["", "inner/"])
def test_odd_files_are_listed_as_failing(
    write: Write,
    make: Callable[[Path], None],
    words: str,
    folder: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("good.py")
    write(f"{folder}also.py", name="also")
    make(Path(f"custom/{folder}odd.py"))
    plugins.reset()
    assert main(["--list"]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"custom/{folder.strip('/') or 'odd.py'}: .*{words}", shown)
    assert build("exporter", "made", {}, key="x").cfg.size == 1
    if not folder:
        assert build("exporter", "also", {}, key="x").cfg.size == 1


@pytest.mark.parametrize("where", ["odd.py", "odd/__init__.py", "odd/inner.py"])
@pytest.mark.parametrize(
    ("rest", "words"), [(b"# \xe9\xff", "is not UTF-8"), (b"#" * (1 << 20), "cannot be read")]
)
def test_what_cannot_be_listed_is_not_imported(
    write: Write, where: str, rest: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python imports it: comments may hold any bytes, and files any number of them."""
    with write(where).open("ab") as file:
        file.write(rest)
    plugins.reset()
    for more in ([], ["--verbose"]):
        assert main(["--list", *more]) == 0
        shown = capsys.readouterr().out
        assert f"custom/{where.split('/')[0]}: {Path(where).name} {words}" in shown
    with pytest.raises(PluginError, match=words):
        find("exporter", "made")


def test_a_folder_of_odd_folders(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("good.py")
    Path("custom/dir.py").mkdir()
    Path("custom/empty").mkdir()
    Path("custom/loop").symlink_to("loop")
    (Path("custom/holds") / "inner.py").mkdir(parents=True)
    plugins.reset()
    assert main(["--list"]) == 0
    assert "made" in capsys.readouterr().out


def test_the_garbage_collector_rests_while_plugins_are_imported(write: Write) -> None:
    write("made.py", imports="import gc\nRESTED = not gc.isenabled()")
    module = sys.modules[find("exporter", "made").__module__]
    assert module.RESTED and gc.isenabled()
    with resting_collector(), resting_collector():
        assert not gc.isenabled()
    assert gc.isenabled() and not gc.get_freeze_count()
    gc.disable()
    try:
        with resting_collector():
            pass
        assert not gc.isenabled(), "who has turned it off wants it off"
    finally:
        gc.enable()
