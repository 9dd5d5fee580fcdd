"""``python -m mimrl.tune``; ``--help`` lists what it takes."""

import sys

from mimrl.tune.command import main

if __name__ == "__main__":
    sys.exit(main())
