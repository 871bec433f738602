"""A certificate for the servers of a stack, signed by an authority that exists only for it.

Role: what RabbitMQ and OMERO show to clients, so that clients can verify them as they do in a facility. Neighbours: the
parts read the files; tests and the demo trust ``ca.pem``. Threading: parts start side by side, so a lock file makes one
of them the maker.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleet_stack import apt
from fleet_stack.console import run, step
from fleet_stack.layout import locked, open_folder

if TYPE_CHECKING:
    from fleet_stack.layout import Layout

NEW: Final = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "3650")
REQUEST: Final = """[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost, IP:127.0.0.1
"""


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of one stack."""

    authority: Path
    server: Path
    key: Path

    @classmethod
    def of(cls, layout: Layout) -> Certificates:
        """Where the files of a stack are, whether or not they exist."""
        folder = layout.certificates
        return cls(folder / "ca.pem", folder / "server.pem", folder / "server.key")

    @property
    def exist(self) -> bool:
        """Whether all three are there."""
        return all(path.exists() for path in (self.authority, self.server, self.key))


def ensure(layout: Layout) -> Certificates:
    """Make the stack's certificate for localhost and 127.0.0.1 unless it is there, and say where it is."""
    wanted = Certificates.of(layout)
    if wanted.exist:
        return wanted
    apt.ensure({"openssl": "openssl"})
    layout.make()
    with locked(layout.state / "certs.lock"):
        if not wanted.exist:
            with step("certificate for localhost"):
                _make(layout)
    return wanted


def _make(layout: Layout) -> None:
    with tempfile.TemporaryDirectory(dir=layout.state, prefix="certs-") as name:
        folder = Path(name)
        _authority(folder, f"omero-import-fleet stack {layout.name}")
        _server(folder)
        shutil.rmtree(layout.certificates, ignore_errors=True)
        open_folder(layout.certificates)
        # The authority's key is left behind on purpose: nobody can sign a second certificate with it.
        for file, mode in (("ca.pem", 0o644), ("server.pem", 0o644), ("server.key", 0o600)):
            (folder / file).chmod(mode)
            (folder / file).rename(layout.certificates / file)


def _authority(folder: Path, name: str) -> None:
    config = folder / "authority.cnf"
    config.write_text(REQUEST.format(name=name))
    keys = ("-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    run([*NEW, "-config", config, "-extensions", "authority", *keys])


def _server(folder: Path) -> None:
    config = folder / "server.cnf"
    config.write_text(REQUEST.format(name="localhost"))
    keys = ("-keyout", folder / "server.key", "-out", folder / "server.pem")
    signer = ("-CA", folder / "ca.pem", "-CAkey", folder / "ca.key")
    run([*NEW, *signer, "-config", config, "-extensions", "server", *keys])
