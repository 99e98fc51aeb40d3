"""Which marked tests run: those that need a GPU or a network only when the command line asks for them by name."""

import os

import pytest

ASKED_FOR = ("gpu", "network")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the hub out of tests that did not ask for it; read before any test imports it."""
    if "network" not in _expression(config):
        os.environ["HF_HUB_OFFLINE"] = "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` or `network` unless `-m` names the mark, whatever else it says."""
    unasked = [mark for mark in ASKED_FOR if mark not in _expression(config)]
    for item in items:
        for mark in unasked:
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=f"runs with: pytest -m {mark}"))


def _expression(config: pytest.Config) -> str:
    return str(config.getoption("markexpr", default=""))
