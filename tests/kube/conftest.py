"""One private cluster for the suite; building its programs takes about 20 minutes, once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet_stack.kubernetes.cluster import Cluster
from fleet_stack.kubernetes.programs import programs
from support.kubernetes import prepare


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the operators' kinds, two nodes and a priority class; gone at the end."""
    one = Cluster(tmp_path_factory.mktemp("kubernetes") / "state", programs())
    try:
        one.start()
        prepare(one)
        yield one
    finally:
        one.stop()
