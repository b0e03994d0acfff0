"""3D models of a scene: one folder a kind, behind the contract in `studio.models.base`."""
