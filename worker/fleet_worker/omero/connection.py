"""One session on one ``omero.client``, with its services, its group and its manners.

Neighbours: the gateway logs in, an owner session joins; everything else asks a connection for services. Threading:
calls are safe from any thread, Ice sends each on its own; only whoever made a connection may close it. ``omero.client``
keeps session and group in one context that all its calls share, so there is one client per session and one group per
session.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import Ice
import omero
import omero.all
import omero.callbacks
import omero.cmd
import omero.grid
import omero.sys

from fleet_common.errors import Reason, RequestError, failure
from fleet_worker.omero.address import OmeroAddress
from fleet_worker.omero.translate import translated

ALL_GROUPS: Final[Mapping[str, str]] = MappingProxyType({"omero.group": "-1"})
AGENT: Final = "omero-import-fleet"
"""``Session.userAgent`` of every session of the fleet."""

CALL_TIMEOUT_MS: Final = 300_000
"""Longer than the 94 s that an overloaded server was seen to freeze; without it a call to a dead host never ends."""
PING_TIMEOUT_MS: Final = 20_000
LONG_CALL_TIMEOUT_MS: Final = 4 * 3600 * 1000
"""For the two calls that may take hours: save() hashes the whole file, verifyUpload() waits an hour for a slot."""


def ice_properties(address: OmeroAddress) -> dict[str, str]:
    """What ``omero.client`` is told beyond its own settings.

    ``omero.client`` sets ``IceSSL.VerifyPeer=0`` unless told otherwise. 2 refuses a server without a valid certificate,
    ``!aNULL`` takes away the ciphers that need none, ``CheckCertName`` compares the host with the certificate's names.
    """
    properties = {"Ice.Default.InvocationTimeout": str(CALL_TIMEOUT_MS)}
    if not address.verify_tls:
        return properties
    trusted = {"IceSSL.CAs": str(address.ca_file)} if address.ca_file else {"IceSSL.UsePlatformCAs": "1"}
    return (
        properties
        | trusted
        | {
            "IceSSL.VerifyPeer": "2",
            "IceSSL.CheckCertName": "1",
            "IceSSL.Ciphers": "HIGH:!aNULL",
            "IceSSL.ProtocolVersionMin": "tls1_2",
        }
    )


class Connection:
    """One session of one user in one group."""

    def __init__(self, address: OmeroAddress) -> None:
        with translated(f"the set-up of a connection to {address.host}:{address.port}"):
            self._client: Any = omero.client(host=address.host, port=address.port, pmap=ice_properties(address))
        self._client.setAgent(AGENT)
        self._tls = address.tls
        self._where = f"{address.host}:{address.port}"
        self._given_up = False

    @classmethod
    def log_in(cls, address: OmeroAddress) -> Connection:
        """A new session of the service account."""
        connection = cls(address)
        connection._enter(address.user, address.password.get_secret_value())
        return connection

    @classmethod
    def join(cls, address: OmeroAddress, session_uuid: str) -> Connection:
        """A connection of its own to a session that was made for somebody."""
        connection = cls(address)
        connection._enter(session_uuid, session_uuid)
        return connection

    def _enter(self, name: str, secret: str) -> None:
        try:
            with translated(f"the login to OMERO at {self._where}"):
                self._client.createSession(name, secret)
                # At once: without it the session, and a queued import, die with the connection.
                self._client.sf.detachOnDestroy()
                if not self._tls:
                    self._client = _over_plain_tcp(self._client)
        except BaseException:
            self.disconnect()
            raise

    @property
    def client(self) -> Any:
        """The ``omero.client``; for callbacks, which need its adapter."""
        return self._client

    @property
    def factory(self) -> Any:
        """The session's ServiceFactoryPrx."""
        try:
            return self._client.getSession()
        except omero.ClientError as error:
            raise failure(Reason.SESSION_LOST, "the session with OMERO was closed by the worker") from error

    @property
    def session_uuid(self) -> str:
        """The uuid of the session: as good as a password, never to be logged."""
        return str(self._client.getSessionId())

    @functools.cached_property
    def query(self) -> Any:
        """IQueryPrx."""
        return self.factory.getQueryService()

    @functools.cached_property
    def update(self) -> Any:
        """IUpdatePrx."""
        return self.factory.getUpdateService()

    @functools.cached_property
    def sessions(self) -> Any:
        """ISessionPrx."""
        return self.factory.getSessionService()

    @functools.cached_property
    def admin(self) -> Any:
        """IAdminPrx."""
        return self.factory.getAdminService()

    @functools.cached_property
    def roles(self) -> Any:
        """The ids of root, guest and OMERO's own groups, which a server never changes."""
        return self.admin.getSecurityRoles()

    @functools.cached_property
    def config(self) -> Any:
        """IConfigPrx."""
        return self.factory.getConfigService()

    @functools.cached_property
    def repository_info(self) -> Any:
        """IRepositoryInfoPrx."""
        return self.factory.getRepositoryInfoService()

    @functools.cached_property
    def repository(self) -> Any:
        """ManagedRepositoryPrx, the one that stores imported files."""
        proxy = self._client.getManagedRepository()
        if proxy is None:
            raise failure(
                Reason.OMERO_UNAVAILABLE, "OMERO shows no managed repository: its data folder is locked or not ready"
            )
        return proxy

    def use_group(self, group_id: int) -> None:
        """Send this group with every call from now on: a call without it fails with SecurityViolation in the middle."""
        self._client.getImplicitContext().put("omero.group", str(group_id))

    def ping(self) -> None:
        """Keep the session alive; ends after 20 s even if the server is frozen."""
        with translated(f"the keep-alive of a session at {self._where}"):
            self.factory.ice_invocationTimeout(PING_TIMEOUT_MS).keepAlive(None)

    def probe(self) -> None:
        """Whether server and database answer; ends after 20 s even if the server is frozen."""
        with translated(f"the probe of OMERO at {self._where}"):
            query = self.query.ice_invocationTimeout(PING_TIMEOUT_MS)
            query.projection("select count(g) from ExperimenterGroup g", None, dict(ALL_GROUPS))

    @property
    def given_up(self) -> bool:
        """Whether it was cut because nothing answered any more."""
        return self._given_up

    def cut(self) -> None:
        """Close the network connection at once, so that calls that wait for an answer end; never raises."""
        self._given_up = True
        with contextlib.suppress(Ice.Exception, omero.ClientError, RequestError):
            wire = self.factory.ice_getCachedConnection()
            if wire is not None:
                # By force: a graceful close waits for the same answers.
                wire.close(True)  # noqa: FBT003  Ice knows no keywords

    def disconnect(self) -> None:
        """Leave the session without ending it. Never raises; may be called again."""
        # Ice reports a dead server, a refused certificate or a lost session here, too: nothing is left to be done then,
        # and the communicator is destroyed in any case.
        with contextlib.suppress(Ice.Exception, omero.ClientError):
            self._client.closeSession()


def _over_plain_tcp(client: Any) -> Any:
    """The same session at the door that the server names for plain TCP; only the login went over TLS.

    The official importer does the same (``OMEROMetadataStoreClient``).
    """
    plain = client.createClient(False)  # noqa: FBT003  omero.client knows no keywords
    plain.sf.detachOnDestroy()
    client.closeSession()
    return plain
