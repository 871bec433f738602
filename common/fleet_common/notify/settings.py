"""Settings of notifications. Data only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from fleet_common.errors import UsageError
from fleet_common.settinggroup import Group

Address = Annotated[str, Field(pattern=r"^[^\s@<>,]+@[^\s@<>,]+$")]
"""A mail address without a name."""


class NotifySettings(Group):
    """Whom ``omero-fleet notify`` tells, and how."""

    webhook_url_file: Path | None = None
    """A file with the address that JSON is posted to: https, or http on a trusted network. Such addresses are secrets,
    because they let anybody write."""
    webhook_token_file: Path | None = None
    """A file with a token for the header ``Authorization: Bearer``, if the receiver wants one."""
    smtp_host: str = ""
    """Mail server; empty for no mail."""
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 587
    """587 with ``starttls``, 465 with ``tls``, 25 with ``none``."""
    smtp_security: Annotated[str, Field(pattern="^(starttls|tls|none)$")] = "starttls"
    """How the connection is encrypted; the certificate is always verified. ``none`` only on a trusted network."""
    smtp_ca_file: Path | None = None
    """Certificates to trust instead of the system's, for mail server and webhook."""
    smtp_user: str = ""
    """Account at the mail server; empty for none."""
    smtp_password_file: Path | None = None
    """A file that holds its password."""
    mail_from: Address = "omero-fleet@localhost"
    """Sender of the mails."""
    mail_to: tuple[Address, ...] = ()
    """Who gets them."""
    state_file: Path | None = None
    """Remembers what was told; without it what ends while the process is down is never told."""
    gather_seconds: Annotated[float, Field(ge=0)] = 30.0
    """So long news are gathered into one message, so that 300 dead plates are one mail."""
    quiet_seconds: Annotated[float, Field(ge=0)] = 60.0
    """A batch is finished when all its requests are, and so long nothing was added to it."""
    give_up_seconds: Annotated[float, Field(gt=0)] = 86400.0
    """So long a message that cannot be sent is tried again."""

    @property
    def has_mail(self) -> bool:
        """Whether mails are sent."""
        return bool(self.smtp_host and self.mail_to)


def read_secret(file: Path, what: str) -> SecretStr:
    """A secret from its file, without white space at its end.

    Raises:
        UsageError: It cannot be read, or is empty.
    """
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{what} cannot be read: {error}") from error
    if not secret:
        raise UsageError(f"{what} is empty: {file}")
    return SecretStr(secret)
