"""studio: a plugin-based 3D generation studio. Picture in, textured mesh out."""

from studio.registry import available, build, find, register

__version__ = "0.1.0"
__all__ = ["__version__", "available", "build", "find", "register"]
