"""What holds for all unit tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command sets up logging for its process; the next test must not write to the stream of this one."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
