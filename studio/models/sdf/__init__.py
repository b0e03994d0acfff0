"""A signed distance field: a geometry seen through a renderer, fitted to views by losses."""
