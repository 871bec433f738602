"""An OMERO of its own for the tests of this folder, brought up once and removed at the end.

Every test uses request ids and names of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from fleet_stack import stack
from fleet_stack.description import OmeroDescription
from fleet_worker.omero.address import OmeroAddress
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.session import OwnerSession

STACK = "t-omero"


@pytest.fixture(scope="session")
def omero_server() -> Iterator[OmeroDescription]:
    """A running OMERO with the accounts of ``fleet_stack.omero.accounts``."""
    try:
        yield stack.up(STACK, ("omero",)).omero
    finally:
        stack.wipe(STACK)


def address_of(server: OmeroDescription, user: str = "importer", **changes: object) -> OmeroAddress:
    """How a user reaches the server, with its certificate verified."""
    values = {
        "host": server.host,
        "port": server.ssl_port,
        "user": user,
        "password": SecretStr(server.users[user].read_text().strip()),
        "ca_file": server.ca_file,
    }
    return OmeroAddress.model_validate(values | changes)


@pytest.fixture(scope="session")
def address(omero_server: OmeroDescription) -> OmeroAddress:
    """The service account's address."""
    return address_of(omero_server)


@pytest.fixture(scope="session")
def gateway(address: OmeroAddress) -> Iterator[Gateway]:
    """The service account, logged in."""
    opened = Gateway(address, clock=time.monotonic)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def alice(gateway: Gateway) -> Iterator[OwnerSession]:
    """A session as alice in the read-annotate group."""
    with gateway.sudo("alice", "screening") as session:
        yield session


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """An empty folder that stands for a share."""
    folder = tmp_path / "hcs"
    folder.mkdir()
    return folder
