"""Several processes of one run, as `accelerate launch` and `torchrun` start them: who does what, and how all end.

Read this to see what a stage shares out and where processes wait. They talk only inside the functions of this file, and
begin each time by telling whether one of them failed: an error in one ends all. In one process nothing here does
anything, and torch is not imported.
"""

import datetime
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "ElsewhereError",
    "add_up",
    "by_main",
    "check_environment",
    "copy_from",
    "count",
    "end",
    "gather",
    "index",
    "is_main",
    "main_first",
    "own",
    "require_one",
    "together",
    "turns",
    "wait",
]

Item = TypeVar("Item")
Result = TypeVar("Result")
NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")  # of the environment, as a launcher sets them
PATIENCE = datetime.timedelta(days=365)  # a process without work waits for the others as long as they take
_is_alone = False


class ElsewhereError(ValueError):
    """Another process of the run failed, or is gone; the message says which and why."""


# Who is who, by what a launcher puts into the environment


def count() -> int:
    """How many processes work on the run: 1 without a launcher, and inside `by_main`."""
    return 1 if _is_alone or not _is_launched() else int(os.environ.get("WORLD_SIZE", "1"))


def index() -> int:
    """Which of them this one is, from 0 on."""
    return 0 if count() == 1 else int(os.environ["RANK"])


def _is_launched() -> bool:
    return "RANK" in os.environ and _no_number() is None


def _no_number() -> str | None:
    return next((name for name in NUMBERS if not os.environ.get(name, "0").isdecimal()), None)


def check_environment() -> None:
    """Raise ValueError where the environment says who this process is in anything but numbers."""
    if "RANK" in os.environ and (name := _no_number()):
        raise ValueError(
            f"the environment variable {name} is {os.environ[name]!r}, and a launcher such as torchrun would have put "
            "a whole number there: unset it to work in one process"
        )


def is_main() -> bool:
    """Whether this process talks to people, and writes what is there only once."""
    return index() == 0


def require_one(what: str) -> None:
    """Raise ValueError where several processes were started for what knows only one."""
    if count() > 1:
        raise ValueError(
            f"{what} runs in one process, and {count()} were started: start it without a launcher; selfportrait "
            "improve and selfportrait stage share out the recipe self_improve"
        )


# Beginning and ending


class together:
    """Inside, the processes of a run can wait for each other, and an error of one ends all.

    `describe` makes the sentence of an error that the main process shows when it came up in another.
    """

    def __init__(self, describe: Callable[[Exception], str] = str) -> None:
        self.describe = describe

    def __enter__(self) -> None:
        if count() > 1:
            _start()

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        if count() == 1:
            return
        if error is None:
            _leave()
        elif isinstance(error, ElsewhereError):
            _outlast_main()
        elif isinstance(error, Exception):  # not Ctrl-C, which may come while they talk: leaving ends the others' wait
            with suppress(ElsewhereError):
                _exchange({"error": self.describe(error), "value": None})
            _outlast_main()


def _start() -> None:
    import torch

    _check_launcher()
    gpus = torch.cuda.device_count()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count()))
    if 0 < gpus < here:
        raise ValueError(
            f"{here} processes were started here and there are {gpus} GPUs: start as many as there are, or hide them "
            "with CUDA_VISIBLE_DEVICES= to work on the processor"
        )
    if gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", index())))  # what the device cuda means from now on
    with _talking():
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=PATIENCE)


def _check_launcher() -> None:
    for name in ("FSDP", "DEEPSPEED"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() in ("true", "1"):
            raise ValueError(
                f"accelerate launch was told to use {name}, and here every process holds the whole model: leave it out"
            )


def _leave() -> None:
    import torch

    try:
        wait()  # one that failed after the last time that they talked is heard here
    except ElsewhereError:
        _outlast_main()
        raise
    torch.distributed.destroy_process_group()


def end(code: int) -> None:
    """End this process at once where there are several, with all that was said written out; otherwise return.

    A thread of torch.distributed that asks for the interpreter while it is being taken down aborts the process; the
    launcher then calls a run failed that was finished.
    """
    if count() > 1:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _outlast_main() -> None:
    """Stay until the main process is gone: a launcher ends all when one ends, and the main one has something to say."""
    import torch

    if not is_main() and torch.distributed.is_initialized():
        with suppress(RuntimeError):  # nothing is ever sent: the connection ends with the process
            torch.distributed.recv(torch.zeros(1), src=0)


# Sharing work out


def own(total: int) -> range:
    """Which of `total` pieces of work are this process's: those of each are decided by their numbers alone."""
    return range(index(), total, count())


def turns(items: Sequence[Item]) -> Iterator[Item | None]:
    """One item a process in each turn; None in the last turn for a process that has none left."""
    for first in range(0, len(items), count()):
        mine = first + index()
        yield items[mine] if mine < len(items) else None


def main_first(work: Callable[[], Result]) -> Result:
    """Let every process do something, the main one before the others."""
    if not is_main():
        wait()
        return work()
    result = work()
    wait()
    return result


def by_main(work: Callable[[], object]) -> None:
    """Let the main process do something alone while the others wait; what it calls finds itself in one process."""
    global _is_alone
    if is_main():
        was_alone, _is_alone = _is_alone, True
        try:
            work()
        finally:
            _is_alone = was_alone
    wait()


# Talking


def wait() -> None:
    """Wait for every process; raises ElsewhereError where one of them failed."""
    gather(None)


def gather(value: Any) -> list[Any]:
    """What each process gives, as JSON has it, in their order; raises ElsewhereError where one of them failed."""
    if count() == 1:
        return [value]
    said = _exchange({"error": None, "value": value})
    for number, one in enumerate(said):
        if one["error"] is not None:
            raise ElsewhereError(f"process {number} of {count()}: {one['error']}")
    return [one["value"] for one in said]


def add_up(tensor: "Tensor") -> None:
    """Add the tensors of all processes, in place."""
    if count() > 1:
        import torch

        wait()
        with _talking():
            torch.distributed.all_reduce(tensor)


def copy_from(source: int, tensor: "Tensor") -> None:
    """Copy a process's tensor into that of every other; call it right after `gather`, so that none has failed."""
    if count() > 1:
        import torch

        with _talking():
            torch.distributed.broadcast(tensor, source)


def _exchange(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Each process's message, in order; they are JSON, so that nothing that arrives can run."""
    import torch

    text = json.dumps(message).encode()
    length = torch.tensor([len(text)])
    with _talking():
        torch.distributed.all_reduce(length, torch.distributed.ReduceOp.MAX)
        sent = torch.frombuffer(bytearray(text.ljust(int(length))), dtype=torch.uint8)
        received = [torch.empty_like(sent) for _ in range(count())]
        torch.distributed.all_gather(received, sent)
    return [json.loads(one.numpy().tobytes()) for one in received]


@contextmanager
def _talking() -> Iterator[None]:
    """Turn what torch raises where a process is gone into one sentence."""
    try:
        yield
    except RuntimeError as error:
        raise ElsewhereError(
            f"the processes of the run lost each other, one may have been killed ({_reason(error)}); run the same "
            "command again to go on"
        ) from error


def _reason(error: Exception) -> str:
    """The first sentence, without the place in torch's sources."""
    return re.sub(r"^\[[^]]*\] ", "", str(error).partition("\n")[0].partition(". ")[0])
