"""YAML as people read it: YAML 1.2 scalars, no duplicate keys, nothing that JSON could not hold.

Read this to learn why a config's 1e-5 is a number here (YAML 1.1 reads text) and why `on` or a date stays text.
"""

import json
import re
from typing import Any

import yaml

__all__ = ["parse"]


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars (1e-5 is a number; yes, on and dates are text), no aliases, no duplicate keys, keys are text."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(problem="aliases are not read: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is not text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9_]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^({_pattern})\Z"), _first)


def parse(text: str, source: str) -> Any:
    """Read one YAML document; raises ValueError, with the source's name, for what YAML or JSON could not hold."""
    try:
        value = yaml.load(text, _Loader)
        json.dumps(value)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{source} cannot be read as YAML: {' '.join(str(error).split())}") from error
    return value
