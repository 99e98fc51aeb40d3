"""The gradient of one step from several processes, to the last bit what one process would have added up.

Read this to see why the number of processes changes no weight. Floating-point sums depend on their order, so processes
do whole backward passes, and gradients are added in the order of the passes, as autograd does in one process. An
all-reduce would be cheaper for large gradients and differ in the last bits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from selfportrait import processes

__all__ = ["accumulate"]

TOGETHER = 2**24  # numbers that travel at once: few messages for small weights, little memory for large ones
Values = Mapping[str, Tensor]


def accumulate(parameters: Mapping[str, Parameter], backward: Callable[[], Values] | None) -> list[Values]:
    """Add the gradients of one backward pass a process to those there are; returns what each pass returned, in order.

    `backward` is None in a process that has no pass left. In one process this is the pass itself.
    """
    if processes.count() == 1:
        return [] if backward is None else [backward()]
    learning = list(parameters.values())
    sums = _taken(learning)
    values = {} if backward is None else {name: float(value) for name, value in backward().items()}
    own = _taken(learning)
    reached = [number for number, gradient in enumerate(own) if gradient is not None]
    said = processes.gather({"values": values, "reached": reached})
    for source, one in enumerate(said):
        for bucket in _buckets(learning, one["reached"]):
            _add(sums, bucket, _copied([learning[number] for number in bucket], [own[n] for n in bucket], source))
    for parameter, gradient in zip(learning, sums, strict=True):
        parameter.grad = gradient
    return [{name: torch.tensor(value) for name, value in one["values"].items()} for one in said]


def _taken(learning: Sequence[Parameter]) -> list[Tensor | None]:
    """The gradients, which the parameters lose."""
    gradients = [parameter.grad for parameter in learning]
    for parameter in learning:
        parameter.grad = None
    return gradients


def _buckets(learning: Sequence[Parameter], reached: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of parameters that a gradient reached, as many in a row as travel at once; all of one type."""
    bucket: list[int] = []
    size = 0
    for number in reached:
        one = learning[number]
        if bucket and (size + one.numel() > TOGETHER or one.dtype != learning[bucket[0]].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(number)
        size += one.numel()
    if bucket:
        yield bucket


def _copied(like: Sequence[Parameter], own: Sequence[Tensor | None], source: int) -> list[Tensor]:
    """The gradients of another process, or this one's own where it is the source."""
    sizes = [parameter.numel() for parameter in like]
    if source == processes.index():
        flat = torch.cat([gradient.reshape(-1) for gradient in own if gradient is not None])
    else:
        flat = torch.empty(sum(sizes), dtype=like[0].dtype, device=like[0].device)
    processes.copy_from(source, flat)
    return [part.view_as(parameter) for part, parameter in zip(flat.split(sizes), like, strict=True)]


def _add(sums: list[Tensor | None], bucket: Sequence[int], gradients: Sequence[Tensor]) -> None:
    for number, gradient in zip(bucket, gradients, strict=True):
        earlier = sums[number]
        sums[number] = gradient if earlier is None else earlier.add_(gradient)
