"""`python -m selfportrait` is the command `selfportrait`."""

import sys

from selfportrait.cli import main

if __name__ == "__main__":
    sys.exit(main())
