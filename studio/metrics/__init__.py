"""Metrics of images, meshes and view sets, with every normalisation stated."""
