"""Model cards, and sending weights to the hub: a stand-in for its client, no network."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from studio.errors import WeightsError
from studio.guidance.cards import push, write_card
from studio.guidance.licences import licence_of


def card(folder: Path, **started_from: str) -> str:
    figures = {"psnr": 24.1234567}
    write_card(folder, "epidiff", data="views", started_from=started_from, figures=figures)
    return (folder / "README.md").read_text()


def test_a_card_says_what_the_weights_are(tmp_path: Path) -> None:
    text = card(tmp_path, source="sd/base", licence="openrail")
    assert text.startswith("---\nlibrary_name: studio\nlicense: openrail\ntags: [")
    assert "Started from sd/base (licence: openrail)." in text
    assert "| psnr | 24.123 |" in text
    assert licence_of(str(tmp_path)) == "openrail", "what is made with them inherits it"


@pytest.mark.parametrize("started_from", [{}, {"source": "x", "licence": "not stated"}])
def test_a_card_does_not_make_up_a_licence(tmp_path: Path, started_from: dict[str, str]) -> None:
    assert "license:" not in card(tmp_path, **started_from)
    assert licence_of(str(tmp_path)) == "not stated"


def test_weights_are_sent_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card(tmp_path)
    asked: dict[str, object] = {}
    monkeypatch.setattr(
        huggingface_hub, "create_repo", lambda name, **options: asked.update(name=name, **options)
    )

    def upload(repo_id: str, folder_path: Path) -> str:
        asked["files"] = sorted(p.name for p in folder_path.iterdir())
        return f"commit in {repo_id}"

    monkeypatch.setattr(huggingface_hub, "upload_folder", upload)
    assert push(tmp_path, "me/mine") == "commit in me/mine"
    assert asked == {"name": "me/mine", "private": True, "exist_ok": True, "files": ["README.md"]}


def test_a_hub_that_refuses_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("401 Client Error\nlong story")

    monkeypatch.setattr(huggingface_hub, "create_repo", refuse)
    with pytest.raises(WeightsError, match=r"could not be sent to me/mine: 401 Client Error\n"):
        push(tmp_path, "me/mine")
