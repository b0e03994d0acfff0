"""The visual hull of the views' masks, with a texture from their pictures: no training."""
