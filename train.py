"""Trains a model; ``python train.py --help`` lists every setting."""

import sys

from mimrl.command import main

if __name__ == "__main__":
    sys.exit(main())
