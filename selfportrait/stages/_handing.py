"""How a recipe completes what a config could only half build.

Read this to see where a component gets the policy and its seed from.
"""

import inspect
from functools import partial
from typing import Any

__all__ = ["hand_over"]


def hand_over(component: Any, **given: Any) -> Any:
    """Give a component what it waits for, by the names of its positional parameters, such as `policy` and `seed`.

    A config builds what it can, and leaves a component that takes the policy as a partial of it; a recipe completes it
    with `hand_over(judge, policy=model, seed=seed)`. One that is built already, or is a function for later, comes back
    as it is.
    """
    if not isinstance(component, partial):
        return component
    parameters = inspect.signature(component.func).parameters.values()
    asked = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    return component(**{name: given[name] for name in asked}) if set(asked) <= given.keys() else component
