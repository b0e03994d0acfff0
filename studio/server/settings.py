"""The options of the service; needs no other package, so that they are checked at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from studio.plugins.ranges import Count, CountOrZero, Range


@dataclass(frozen=True)
class ServerConfig:
    """What `studio ui` is told."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 lets other machines in."""
    port: Annotated[int, Range(0, 65535)] = 7860
    """0: any free one, which is printed."""
    jobs: str = "outputs/jobs"
    """Folder of all jobs: inputs, progress and results, a folder a visitor."""
    workers: CountOrZero = 0
    """Processes that work; 0: one a GPU, else one a processor core, as far as there is memory."""
    password: str = ""
    """Asked of every visitor; empty: none. The variable STUDIO_PASSWORD says it unseen."""
    names: list[str] = field(default_factory=list)
    """Names that the service is reached by, besides localhost, this machine's own and addresses."""
    queue: Count = 16
    """Jobs that may wait; further ones are told that it is busy."""
    keep: Count = 100
    """Finished jobs that are kept for a visitor; the oldest go."""
    days: Annotated[float, Range(0, 36500, above=True)] = 30.0
    """How long finished jobs are kept."""
    most_mb: Annotated[float, Range(0, 100_000, above=True)] = 200.0
    """Of an upload; an archive may hold four times as much."""
    most_megapixels: Annotated[float, Range(0, 67, above=True)] = 40.0
    """Of a picture; looked at before it is decoded."""
    minutes: Annotated[float, Range(0, 1e6, above=True)] = 120.0
    """After which a job is given up."""
    open: bool = True
    """Open the page in a browser, where there is one."""

    @property
    def most_bytes(self) -> int:
        """Of an upload."""
        return int(self.most_mb * 1e6)
