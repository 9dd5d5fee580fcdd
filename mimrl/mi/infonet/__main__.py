"""``python -m mimrl.mi.infonet``."""

import sys

from mimrl.mi.infonet.command import main

if __name__ == "__main__":
    sys.exit(main())
