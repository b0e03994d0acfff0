"""A text that guidance makes views of, with a picture of the first view if there is one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from studio.data.base import ConditionData
from studio.data.conditions.single_image import SingleImageData
from studio.errors import DataError
from studio.plugins.registry import register
from studio.views import Condition


@register("data", "text")
class TextData(ConditionData):
    """A text, for guidance that makes views of one (SPAD)."""

    brought = "text"

    @dataclass
    class Config(SingleImageData.Config):
        """The text, and a picture with how it is prepared."""

        text: str = ""
        """What is to be made, in a few words."""
        image: str = ""
        """A picture that the first view is to be, for guidance that takes one beside a text
        (SPAD with image_conditioning); the other options prepare it. Empty: none."""

    def __init__(self, cfg: Config) -> None:
        """Refuse an empty text."""
        if not cfg.text.strip():
            raise DataError("data.text is not given.", hint='Add data.text="a red car".')
        self.cfg = cfg

    def condition(self) -> Condition:
        """Return the text, and the prepared picture if there is one.

        Raises:
            DataError: if the picture cannot be read or prepared.
        """
        text = " ".join(self.cfg.text.split())
        if not self.cfg.image:
            return Condition(text=text, meta={"text": text})
        pictured = SingleImageData(self.cfg).condition()
        return replace(pictured, text=text, meta={**pictured.meta, "text": text})
