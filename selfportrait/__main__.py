"""`python -m selfportrait` is the command `selfportrait`."""

import sys

from selfportrait import processes
from selfportrait.cli import main

if __name__ == "__main__":
    code = main()
    processes.end(code)
    sys.exit(code)
