"""Export of scene models: textured meshes, videos and preview images."""
