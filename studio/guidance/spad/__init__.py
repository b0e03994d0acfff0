"""SPAD: a text in, any number of consistent views at any cameras out."""
