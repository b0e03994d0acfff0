"""studio: a plugin-based 3D generation studio. Picture in, textured mesh out."""

import os

# Read by OpenMP when torch is loaded: threads that wait sleep. Those that spin, as OpenMP's own do,
# take the time of the threads they wait for as soon as another program keeps a core busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from studio.registry import available, build, find, register  # noqa: E402

__version__ = "0.1.0"
__all__ = ["__version__", "available", "build", "find", "register"]
