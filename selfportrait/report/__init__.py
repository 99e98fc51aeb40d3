"""The report of a run: one HTML file that opens from disk and shows what changed.

Read `page.py` first; the other files each prepare one part of the page from the run folder.
"""

from selfportrait.report.page import write_report

__all__ = ["write_report"]
