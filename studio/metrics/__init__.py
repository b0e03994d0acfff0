"""How good pictures, meshes and view sets are, with every normalisation stated."""
