"""A verified TLS session with the stack's OMERO, for what the stack itself has to ask.

Used by ``users``, by ``part`` and by tests. One client per ``with``; no threads of our own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import Ice
import omero

from fleet_stack import certificates
from fleet_stack.console import StackError
from fleet_stack.layout import Layout
from fleet_stack.omero.accounts import secret_name
from fleet_stack.secrets import secret

HOST: Final = "127.0.0.1"


def properties(port: int, authority: Path) -> dict[str, str]:
    """Ice settings of a client that accepts only a server whose certificate this authority has signed for this host.

    OMERO's own default is to verify nothing (omero-py, ``omero/clients.py``).
    """
    return {
        "omero.host": HOST,
        "omero.port": str(port),
        "IceSSL.CAs": str(authority),
        "IceSSL.VerifyPeer": "2",
        "IceSSL.CheckCertName": "1",
        "IceSSL.Ciphers": "HIGH:!aNULL",
    }


@contextlib.contextmanager
def session(layout: Layout, user: str) -> Iterator[Any]:
    """A service factory as this user, with the password from the stack's secrets; closed at the end.

    Raises:
        StackError: The server is not there, is another one, or refuses the password.
    """
    client = omero.client(pmap=properties(layout.ports.omero_ssl, certificates.ensure(layout).authority))
    try:
        yield _join(client, user, secret(layout, secret_name(user)))
    finally:
        # After a refused login there is no session to close; the communicator is destroyed in any case.
        with contextlib.suppress(Ice.Exception):
            client.closeSession()


def _join(client: Any, user: str, password: str) -> Any:
    try:
        return client.createSession(user, password)
    except (Ice.Exception, omero.ClientError) as error:
        raise StackError(f"cannot log in to OMERO as {user}: {type(error).__name__}: {error}") from error
