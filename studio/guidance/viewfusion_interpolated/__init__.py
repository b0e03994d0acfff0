"""ViewFusion by interpolated denoising: Zero-1-to-3 on several pictures at once."""
