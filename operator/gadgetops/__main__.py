"""`python -m gadgetops`: the same as the console script."""

import sys

from gadgetops.commands import main

if __name__ == "__main__":
    sys.exit(main())
