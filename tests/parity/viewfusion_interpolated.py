"""Parity of Zero-1-to-3 and of interpolated denoising."""

from __future__ import annotations

from tests.parity.case import Adapter

CASES: dict[str, Adapter] = {}
