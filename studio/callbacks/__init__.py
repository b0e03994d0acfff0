"""Small Lightning callbacks, one job each; `studio.cli.make_trainer` puts them together."""
