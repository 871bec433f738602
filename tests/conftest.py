"""The order of the whole run: what is quick and fails early comes first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import hypothesis
import pytest
import structlog

FOLDERS: Final = ("unit", "broker", "omero", "e2e", "faults", "kube")
_HERE: Final = Path(__file__).parent
# How long one example takes says nothing on a machine that is busy; pytest-timeout bounds the test.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by folder; within one the order stays."""
    items.sort(key=lambda item: FOLDERS.index(item.path.relative_to(_HERE).parts[0]))


@pytest.fixture(autouse=True)
def _logs_of_its_own() -> Iterator[None]:
    """A command that a test runs in this process sets up logging, to a stream that is closed with the test."""
    yield
    structlog.reset_defaults()
