"""A text that guidance makes views of."""

from __future__ import annotations

from dataclasses import dataclass

from studio.data.base import ConditionData
from studio.errors import DataError
from studio.registry import register
from studio.views import Condition


@register("data", "text")
class TextData(ConditionData):
    """A text, for guidance that makes views of one (SPAD)."""

    @dataclass
    class Config:
        """The text."""

        text: str = ""
        """What is to be made, in a few words."""

    def __init__(self, cfg: Config) -> None:
        """Refuse an empty text."""
        if not cfg.text.strip():
            raise DataError("data.text is not given.", hint='Add data.text="a red car".')
        self.cfg = cfg

    def condition(self) -> Condition:
        """Return the text."""
        text = " ".join(self.cfg.text.split())
        return Condition(text=text, meta={"text": text})
