"""Run an experiment, for example `python launch.py --config configs/epidiff-neus.yaml --train`."""

import sys

from studio.app.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
