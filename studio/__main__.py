"""`python -m studio`: the command line."""

import sys

from studio.app.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
