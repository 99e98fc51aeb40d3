"""How the report writes numbers; None and non-finite numbers become a dash.

Read this when a number on the page looks wrong.
"""

import math
from typing import Any

__all__ = ["duration", "finite", "memory", "number", "percent", "plain", "points", "signed", "width"]

DASH = "–"
SPACE = "\N{NO-BREAK SPACE}"  # keeps a number and its unit on one line
MINUS = "−"


def finite(value: Any) -> float | None:
    """The value as a float, or None where it is no finite number (a bool is none)."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None


def percent(value: Any) -> str:
    """0.421 -> "42.1 %"."""
    share = finite(value)
    return DASH if share is None else f"{share * 100:.1f}{SPACE}%"


def points(value: Any) -> str:
    """0.092 -> "+9.2": a difference of two shares in percentage points."""
    share = finite(value)
    return DASH if share is None else signed(share * 100, 1)


def signed(value: Any, digits: int = 2) -> str:
    """-1.234 -> "−1.23", with a true minus; what rounds to zero has no sign."""
    amount = finite(value)
    if amount is None:
        return DASH
    text = f"{abs(amount):.{digits}f}"
    if float(text) == 0:
        return text
    return ("+" if amount > 0 else MINUS) + text


def number(value: Any, digits: int = 2) -> str:
    """0.8333 -> "0.83"; whole numbers with separated thousands."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    amount = finite(value)
    return DASH if amount is None else f"{amount:.{digits}f}".replace("-", MINUS)


def duration(value: Any) -> str:
    """75.2 -> "1 min 15 s"."""
    seconds = finite(value)
    if seconds is None:
        return DASH
    if seconds < 60:
        return f"{seconds:.1f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{SPACE}h {minutes}{SPACE}min" if hours else f"{minutes}{SPACE}min {rest}{SPACE}s"


def memory(value: Any) -> str:
    """1536.0 (megabytes) -> "1.5 GB"."""
    megabytes = finite(value)
    if megabytes is None:
        return DASH
    return f"{megabytes / 1024:.1f}{SPACE}GB" if megabytes >= 1024 else f"{megabytes:.0f}{SPACE}MB"


def plain(value: Any) -> str:
    """A name for people: "peak_memory" -> "peak memory"."""
    return str(value).replace("_", " ")


def width(value: Any) -> str:
    """0.421 -> "42.1": a share as a CSS percentage, kept within the bar."""
    return f"{100 * min(1.0, max(0.0, finite(value) or 0.0)):.1f}"
