"""Reads a trained model by LSMI; ``--help`` lists the options."""

import sys

from lsmi.command import main

if __name__ == "__main__":
    sys.exit(main())
