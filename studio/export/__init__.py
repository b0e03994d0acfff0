"""From a signed distance field to textured meshes, videos and preview pictures."""
