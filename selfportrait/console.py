"""What every command shares: errors as one sentence, a clean terminal, and what Ctrl-C says.

Read this to learn what a user sees when something fails; the commands themselves only raise. Of several processes only
the main one speaks.
"""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.table import Table

from selfportrait import processes, progress

__all__ = ["StoppedError", "echo", "resumable", "run", "say", "show", "silence_libraries"]

TRACEBACK = "SELFPORTRAIT_TRACEBACK"
EXIT_ERROR, EXIT_STOPPED = 2, 130
OUT_OF_MEMORY = "OutOfMemoryError"  # torch's; by name, so that a command without torch answers at once
WIDTH_ELSEWHERE = 120  # columns, where the output is no terminal


class StoppedError(Exception):
    """Ctrl-C, with how to go on."""


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; what is wrong with the input becomes one line on stderr and 2."""
    _say_what_is_logged()
    try:
        processes.check_environment()
        code = app(list(arguments) or ["--help"], prog_name="selfportrait", standalone_mode=False)
    except StoppedError as stop:
        say(str(stop))
        return EXIT_STOPPED
    except (ValueError, OSError, ImportError, RuntimeError, typer.TyperException) as error:
        if os.environ.get(TRACEBACK, "0") not in ("", "0") or _is_our_own(error):
            raise
        say(f"error: {sentence(error)}")
        return EXIT_ERROR
    if code == EXIT_STOPPED:
        say("stopped")
    return int(code or 0)


def sentence(error: Exception) -> str:
    """The message of an error in one line, with the file it is about."""
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        text = f"{error.format_message().rstrip('.')}; see {context.command_path if context else 'selfportrait'} --help"
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif isinstance(error, ModuleNotFoundError):
        text = f"the package {error.name} is not installed: pip install selfportrait brings what every command needs"
    elif type(error).__name__ == OUT_OF_MEMORY:
        text = (
            "the accelerator ran out of memory; lower model.batch_size, recipe.prompts_per_step or recipe.group_size, "
            f"or set model.gradient_checkpointing=true ({str(error).split('.')[0]})"
        )
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


@contextmanager
def resumable() -> Iterator[None]:
    """Inside, Ctrl-C says that the same command goes on where this one stopped."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise StoppedError("stopped; nothing finished is lost: run the same command again to go on") from interrupt


def say(text: str) -> None:
    """Write a line for people to stderr, above the progress bars."""
    if processes.is_main():
        progress.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def echo(text: str) -> None:
    """Write a line of a command's result to stdout."""
    if processes.is_main():
        typer.echo(text)


def show(table: Table) -> None:
    """Write a table to stdout."""
    if processes.is_main():
        Console(width=None if sys.stdout.isatty() else WIDTH_ELSEWHERE).print(table)


def silence_libraries() -> None:
    """Keep the notes and loading bars of diffusers and transformers off the terminal; their errors still raise.

    Called before anything imports them: most of their notes are about what they could not import themselves.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning, module="diffusers|transformers")
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        say(f"{prefix}{record.getMessage()}")


def _say_what_is_logged() -> None:
    logger = logging.getLogger("selfportrait")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [_Handler()]


def _is_our_own(error: Exception) -> bool:
    """A mistake of ours, which a traceback explains best: a failing import of the package, or an unforeseen state."""
    if isinstance(error, RuntimeError):
        return type(error).__name__ != OUT_OF_MEMORY
    return isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "selfportrait"
