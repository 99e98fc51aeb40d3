"""selfportrait: text-to-image models that improve themselves by preference optimization."""

__version__ = "0.1.0"
