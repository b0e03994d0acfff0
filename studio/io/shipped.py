"""What comes with the program: configs, nano weights, example pictures.

In a checkout they lie beside `launch.py`; in an installed wheel, in the package's folder `share`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.io.yaml_text import Plain, Word

PACKAGE = Path(__file__).resolve().parents[1]
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "launch.py").is_file() else None
ROOT = CHECKOUT or PACKAGE / "share"


def config_file(name: str | Path) -> Path:
    """Return the YAML file that is meant: a path, or the name of a config here or of the program's.

    Args:
        name: `my/own.yaml`, `configs/epidiff-neus.yaml`, `epidiff-neus`, `train/nano-vae`.

    Returns:
        The first that exists; `name` as a path if none does.
    """
    given = Path(name)
    inner = given if given.suffix in (".yaml", ".yml") else Path(f"{given}.yaml")
    places = (given, Path("configs") / inner, ROOT / inner, ROOT / "configs" / inner)
    return next((place for place in places if place.is_file()), given)


def config_names() -> list[str]:
    """Return the names of the program's configs, as `config_file` knows them."""
    folder = ROOT / "configs"
    return sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml"))


def found(text: str) -> str:
    """Return a path below `load/` as it is where it exists, else the program's own of that name."""
    if not text.startswith("load/") or Path(text).exists() or not (ROOT / text).exists():
        return text
    return str(ROOT / text)


def placed(value: Any) -> Any:
    """Return a config, as it was read, with every path below `load/` where it is `found`."""
    if isinstance(value, Mapping):
        return {key: placed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [placed(item) for item in value]
    if not isinstance(value, str):
        return value
    if (text := found(str(value))) == value:
        return value
    return type(value)(text) if isinstance(value, Plain | Word) else text
