"""Which device a setting means. Read this before loading a network: every component says `auto` in the same way."""

import torch

__all__ = ["device_of"]


def device_of(name: str) -> torch.device:
    """The device of that name; "auto" is the GPU where there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
