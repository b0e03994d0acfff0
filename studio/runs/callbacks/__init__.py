"""Small Lightning callbacks, one job each; `studio.runs.trainer` puts them together."""
