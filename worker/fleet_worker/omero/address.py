"""Where OMERO.server is and how to log in to it. Plain data, safe in any thread."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class OmeroAddress(BaseModel):
    """One OMERO.server and the fleet's service account in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    """Host name; with ``verify_tls`` the server's certificate must name it."""
    port: Annotated[int, Field(ge=1, le=65535)] = 4064
    """Port of the TLS router."""
    user: str
    """A restricted administrator whose only privilege is Sudo."""
    password: SecretStr
    verify_tls: bool = True
    """Whether to verify certificate and host name; False lets anybody in between read and write along."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    tls: bool = True
    """Whether everything goes over TLS, or only the login."""
