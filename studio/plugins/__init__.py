"""Plugins: registered, found by reading source, made of options that are checked."""

from studio.plugins.discovery import available, find
from studio.plugins.options import build
from studio.plugins.parsing import parse_config
from studio.plugins.registry import KINDS, config_class, register

__all__ = ["KINDS", "available", "build", "config_class", "find", "parse_config", "register"]
