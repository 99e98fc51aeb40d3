"""Weights that cannot be loaded, in one sentence that names the setting.

Read this before calling `from_pretrained`: what it raises says nothing of which of several models was meant.
"""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["loading"]


@contextmanager
def loading(what: str, path: str) -> Iterator[None]:
    """Turn what transformers and the hub raise about weights that are not there into a ValueError.

    `what` is who needs them, such as "detectors/rt_detr".
    """
    try:
        yield
    except (OSError, ValueError) as error:  # the hub's complaint about a name is a ValueError
        first = str(error).strip().split("\n")[0].rstrip(".")
        raise ValueError(
            f"{what}: the weights {path} cannot be loaded ({first}): give the folder of a checkpoint with safetensors, "
            "or the id of one on the hub that this machine reaches"
        ) from error
