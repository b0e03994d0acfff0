"""studio: a plugin-based 3D generation studio. Picture in, textured mesh out.

    import studio

    result = studio.load("epidiff-neus")("car.png")
    result.mesh.save("car.glb")

Importing it is quick: torch and the rest are loaded by what is used first.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# Read by OpenMP when torch is loaded: threads that wait sleep. Those that spin, as OpenMP's own do,
# take the time of the threads they wait for as soon as another program keeps a core busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from studio import moved  # noqa: E402
from studio.errors import Cancelled, StudioError  # noqa: E402
from studio.plugins import available, build, find, register  # noqa: E402
from studio.plugins.importing import resting_collector  # noqa: E402
from studio.version import __version__  # noqa: E402

if TYPE_CHECKING:
    from studio.api import load, load_guidance, reconstruct
    from studio.cameras import Cameras
    from studio.evaluation import evaluate
    from studio.mesh import Mesh
    from studio.pipeline import Pipeline, Result
    from studio.views import Condition, ViewSet

moved.install()

_LATER = {
    "load": "api",
    "load_guidance": "api",
    "reconstruct": "api",
    "evaluate": "evaluation",
    "Pipeline": "pipeline",
    "Result": "pipeline",
    "Cameras": "cameras",
    "Mesh": "mesh",
    "Condition": "views",
    "ViewSet": "views",
}
"""Module of what is loaded when it is first asked for."""
__all__ = [
    "Cameras",
    "Cancelled",
    "Condition",
    "Mesh",
    "Pipeline",
    "Result",
    "StudioError",
    "ViewSet",
    "__version__",
    "available",
    "build",
    "evaluate",
    "find",
    "load",
    "load_guidance",
    "reconstruct",
    "register",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'studio' has no attribute {name!r}")
    with resting_collector():
        return getattr(importlib.import_module(f"studio.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
