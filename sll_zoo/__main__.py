"""``python -m sll_zoo`` is ``sll-zoo``."""

import sys

from sll_zoo.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
