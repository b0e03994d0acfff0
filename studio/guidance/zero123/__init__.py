"""Zero-1-to-3: one picture and a relative camera in, one view out."""
