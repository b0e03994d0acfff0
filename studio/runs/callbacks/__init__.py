"""Small Lightning callbacks, one job each; `studio.app.cli.make_trainer` puts them together."""
