"""Kinds of mesh files, one a module: each a plugin, found by its name."""
