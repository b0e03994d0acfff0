"""The licence of weights, as their model card tells it, for the files made with them."""

from pathlib import Path

import pytest

from studio.guidance.licences import licence_of, shown_source

NANO = Path(__file__).parents[2] / "load" / "nano"


def card(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(text)


@pytest.mark.parametrize("name", ["epidiff", "spad", "eschernet", "zero123-any"])
def test_shipped_weights_are_apache(name: str) -> None:
    assert licence_of(str(NANO / name)) == "Apache-2.0"


def test_the_card_beside_the_weights_tells(tmp_path: Path) -> None:
    card(tmp_path / "all", "---\nlicense: mit\ntags: [3d]\n---\n# All\n")
    card(tmp_path / "all" / "one", '---\ntags: [3d]\nlicence: "cc-by-nc-4.0"\n---\n\nlicense: x\n')
    (tmp_path / "all" / "two.ckpt").write_bytes(b"")
    assert licence_of(str(tmp_path / "all" / "one"), "Apache-2.0") == "cc-by-nc-4.0"
    assert licence_of(str(tmp_path / "all" / "two.ckpt")) == "mit"


def test_nothing_is_claimed_where_nothing_is_stated(tmp_path: Path) -> None:
    card(tmp_path, "# Weights\nlicense: mit\n")  # no front matter
    (tmp_path / "a.ckpt").write_bytes(b"")
    assert licence_of(str(tmp_path / "a.ckpt")) == "not stated"
    told = licence_of(str(tmp_path / "a.ckpt"), "MIT, on X")
    assert told == "not stated beside them; the authors' own: MIT, on X"
    (tmp_path / "config.json").write_text('{"weights": ""}')  # trained by this program
    assert licence_of(str(tmp_path), "MIT, on X") == "not stated"
    assert licence_of("owner/name", "MIT") == "not stated beside them; the authors' own: MIT"


def test_sources_do_not_tell_where_a_person_lives() -> None:
    assert shown_source("/home/me/secret/nano/epidiff") == "nano/epidiff"
    assert shown_source("load/nano/epidiff") == "load/nano/epidiff"
