"""Run an experiment: python launch.py --config configs/epidiff-neus.yaml --train --export"""

import sys

from studio.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
