"""Model cards, and sending weights to the hub: a stand-in for its client, no network."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from studio.app.cli import main
from studio.config import parse_config
from studio.errors import ConfigError, WeightsError
from studio.guidance.cards import check_push, push, write_card
from studio.guidance.licences import licence_of
from studio.systems.guidance_training import GuidanceTraining
from tests.conftest import REPOSITORY


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


@pytest.mark.parametrize(
    ("token", "answer", "message"),
    [
        (None, {}, "there is no token"),
        ("t", {"auth": {"accessToken": {"role": "read"}}}, "the token may read only"),
        ("t", ConnectionError("no route to host\nmore"), "no route to host"),
        ("t", {"auth": {"accessToken": {"role": "write"}}}, None),
        ("t", {"name": "me"}, None),
    ],
)
def test_a_hub_that_would_not_take_weights_is_told_before_training(
    monkeypatch: pytest.MonkeyPatch, token: str | None, answer: object, message: str | None
) -> None:
    class Hub:
        def whoami(self) -> object:
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: token)
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    if message is None:
        check_push("me/mine")
        return
    with pytest.raises(WeightsError, match=f"push_to_hub is me/mine, .*: {message}") as caught:
        check_push("me/mine")
    assert "hf auth login" in str(caught.value)


@pytest.mark.parametrize("word", ["mine", "me/mine/more", "https://hub/me/mine", "me/", "a b/c"])
def test_names_that_no_repository_has_are_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="system.push_to_hub is .*\n.*owner/name"):
        parse_config(GuidanceTraining.Config, {"push_to_hub": word}, key="system")


def test_training_does_not_begin_where_the_hub_would_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said before anything is written, and only where weights are to be exported."""
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    monkeypatch.setenv("STUDIO_RUN_DIR", "")  # put back afterwards
    monkeypatch.delenv("STUDIO_RUN_DIR")
    words = ["--config", str(REPOSITORY / "configs" / "train" / "nano-zero123.yaml")]
    words += [f"exp_root_dir={tmp_path / 'out'}", "system.push_to_hub=me/mine"]
    words += ["system.guidance.vae_weights=", "data.cache_dir=null", "trainer.accelerator=cpu"]
    assert main([*words, "--train", "--export"]) == 2
    assert "system.push_to_hub is me/mine" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
