"""ViewFusion by composable diffusion: any number of unposed pictures, mixed pixel by pixel."""
