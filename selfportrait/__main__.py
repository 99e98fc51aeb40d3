"""`python -m selfportrait` is the command `selfportrait`, and both run this."""

import sys

from selfportrait import processes
from selfportrait.cli import main

__all__ = ["run"]


def run() -> int:
    """Run the command line; one process of several ends here, see `processes.end`."""
    code = main()
    processes.end(code)
    return code


if __name__ == "__main__":
    sys.exit(run())
