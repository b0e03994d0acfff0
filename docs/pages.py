"""Brings files from beside docs/ into the site, and turns the links between all pages.

Links are written as GitHub follows them, from one file of the repository to another; a link to a
file that is not part of the site is a warning of MkDocs, which `make docs` takes for an error.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
BROUGHT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "CITATION.cff": "CITATION.cff",
    "LICENSE": "LICENSE.txt",
    "custom/README.md": "custom.md",
    "custom/siren-sdf/__init__.py": "siren-sdf.py",
    "custom/siren-sdf/siren-sdf.yaml": "siren-sdf.yaml",
    "load/nano/README.md": "nano.md",
}
"""Place in the site by place in the repository."""
CAME_FROM = {there: here for here, there in BROUGHT.items()}
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the files that lie beside docs/."""
    from mkdocs.structure.files import File

    for here, there in BROUGHT.items():
        files.append(File.generated(config, there, abs_src_path=str(ROOT / here)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    here = page.file.src_uri
    folder = posixpath.dirname(CAME_FROM.get(here, f"docs/{here}"))
    return LINK.sub(lambda found: _in_site(found[1], folder, posixpath.dirname(here)), markdown)


def _in_site(link: str, folder: str, page_folder: str) -> str:
    target = posixpath.normpath(posixpath.join(folder, link))
    if target in BROUGHT:
        return posixpath.relpath(BROUGHT[target], page_folder or ".")
    if target.startswith("docs/"):
        return posixpath.relpath(target.removeprefix("docs/"), page_folder or ".")
    return link
