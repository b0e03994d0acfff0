"""SPAD: text to views at any cameras, by one attention over all views along epipolar lines."""
