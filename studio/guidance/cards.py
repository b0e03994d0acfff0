"""Model cards of trained guidance, and sending them to the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from studio.errors import WeightsError
from studio.guidance.licences import CARD
from studio.io.files import write_text

_CARD = """---
library_name: studio
{licence}tags: [image-to-3d, multi-view-diffusion, {method}]
---

# {title}

{method} weights, trained with studio on {data}.

```bash
python launch.py --config configs/{config}-neus.yaml --train --export \\
  system.guidance.weights=THIS_FOLDER
```

{started}{figures}"""


REPOSITORY = r"|[\w-][\w.-]*/[\w-][\w.-]*"
"""Form of the hub's names of repositories, or nothing."""


def write_card(
    folder: Path,
    method: str,
    *,
    data: str,
    started_from: Mapping[str, str],
    figures: Mapping[str, float],
    title: str = "",
) -> None:
    """Write README.md of a folder of weights: what they are, of what, under which licence.

    Args:
        folder: of the weights.
        method: name of the guidance plugin.
        data: what they were trained on, in words.
        started_from: `Guidance.provenance` of the training, empty where it started from nothing.
        figures: what was measured, by name.
        title: the folder's name where it is not its final one yet.
    """
    licence, started = started_from.get("licence", ""), ""
    if started_from:
        started = f"Started from {started_from['source']} (licence: {licence}).\n\n"
    rows = "\n".join(f"| {name} | {value:.5g} |" for name, value in sorted(figures.items()))
    table = f"| measured | value |\n| --- | --- |\n{rows}\n" if rows else ""
    text = _CARD.format(
        licence=f"license: {licence}\n" if licence and " " not in licence else "",
        method=method,
        config="viewfusion-interpolated" if method == "zero123" else method,
        title=title or folder.name,
        data=data,
        started=started,
        figures=table,
    )
    write_text(folder / CARD, text.rstrip() + "\n")


def check_push(repository: str) -> None:
    """Make sure, before hours of training, that the hub answers and knows who sends.

    Args:
        repository: "owner/name" that weights are to be sent to.

    Raises:
        WeightsError: if there is no token, it may only read, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi, get_token

    try:
        if not get_token():
            raise ValueError("there is no token")
        token = HfApi().whoami().get("auth", {}).get("accessToken", {})
        if token.get("role") == "read":
            raise ValueError("the token may read only")
    except Exception as error:  # the hub client raises its own and its transport's errors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"system.push_to_hub is {repository}, which the hub would not take: {reason}.",
            hint="`hf auth login` stores a token that may write; without push_to_hub the weights "
            "stay in their folder.",
        ) from error


def push(folder: Path, repository: str) -> str:
    """Send a folder of weights to a repository of the hub, made (private) where there is none.

    Args:
        folder: what is sent, whole.
        repository: "owner/name"; the hub's client finds the token (`hf auth login`).

    Returns:
        The address of the commit.

    Raises:
        WeightsError: if the hub cannot be reached or refuses.
    """
    from huggingface_hub import create_repo, upload_folder

    try:
        create_repo(repository, private=True, exist_ok=True)
        return str(upload_folder(repo_id=repository, folder_path=folder))
    except Exception as error:  # the hub client raises its own and its transport's errors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"{folder} could not be sent to {repository}: {reason}",
            hint="`hf auth login` stores a token that may write; the weights are in the folder.",
        ) from error
