"""Posed pictures in a folder with `transforms.json`: captures, NeRF-synthetic, or our own views."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from studio.captures.bounds import SNUG
from studio.captures.shots import Scene
from studio.captures.transforms import has_split, read_scene
from studio.data.layouts.base import CaptureConfig, LayoutData
from studio.plugins.registry import register


@register("data", "transforms")
class TransformsData(LayoutData):
    """Posed RGBA pictures in a transforms.json folder (nerfstudio, instant-ngp, NeRF-synthetic)."""

    looks_for = "transforms.json or transforms_train.json"
    priority = 80  # before colmap: its projects may hold a transforms.json made of them
    snug = SNUG

    @dataclass
    class Config(CaptureConfig):
        """Where the pictures are and how they are used."""

        split: str = "train"
        """Split to learn from; transforms.json serves where it has no file of its own."""
        test_split: str | None = "test"
        """Held-out split to measure on, null for none; ignored where it has no file."""

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether there is a transforms file."""
        if root.is_file():
            return root.suffix == ".json"
        return any((root / f"transforms{end}.json").is_file() for end in ("", "_train"))

    def scene(self, split: str = "train") -> Scene | None:
        """Read the file of a split; None where there are no test views."""
        cfg, root = self.cfg, Path(self.cfg.root)
        if split == "train":
            return read_scene(root, cfg.split)
        if cfg.test_split is None or not has_split(root, cfg.test_split):
            return None
        return read_scene(root, cfg.test_split)
