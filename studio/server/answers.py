"""What a refusal is: a status, and words that a person can use."""

from __future__ import annotations

from typing import Any

from studio.errors import StudioError
from studio.server.wording import in_words


class Refusal(Exception):
    """A request that is not granted.

    Args:
        status: of HTTP.
        error: what was given and why it cannot be used.
        allowed: what would be accepted.
        hint: what to do.
    """

    def __init__(self, status: int, error: str, *, allowed: str = "", hint: str = "") -> None:
        super().__init__(error)
        self.status, self.error, self.allowed, self.hint = status, error, allowed, hint

    @property
    def content(self) -> dict[str, Any]:
        """Body of the answer."""
        told = {"error": self.error, "allowed": self.allowed, "hint": self.hint}
        return {key: text for key, text in told.items() if text}


def refusal(error: StudioError, status: int = 422) -> Refusal:
    """Take a message apart into what was given, what is allowed and what to do."""
    first, *rest = in_words(str(error)).splitlines() or ["it was refused."]
    parts: dict[str, list[str]] = {"error": [first], "allowed": [], "hint": []}
    part = "hint"
    for line in rest:
        if line.startswith("  allowed: "):
            part, line = "allowed", line.removeprefix("  allowed: ")
        elif not line.startswith("    "):
            part = "hint"
        parts[part].append(line.strip())
    said = {name: " ".join(lines) for name, lines in parts.items()}
    return Refusal(status, said["error"], allowed=said["allowed"], hint=said["hint"])
