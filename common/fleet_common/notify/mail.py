"""Sends messages by mail, with the mail server's certificate verified. Threading: stateless."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from fleet_common.notify.channel import SendError
from fleet_common.notify.notes import Note, body, headline

TIMEOUT_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail server, one sender, some readers.

    Attributes:
        host: Of the mail server.
        port: Of the mail server.
        security: ``starttls``, ``tls`` or ``none``.
        sender: Address of the sender.
        readers: Addresses.
        user: Account at the mail server; empty for none.
        password: Of that account.
        ca_file: Certificates to trust instead of the system's.
        timeout_seconds: For every answer of the server.
    """

    host: str
    port: int
    security: str
    sender: str
    readers: tuple[str, ...]
    user: str = ""
    password: SecretStr | None = field(default=None, repr=False)
    ca_file: Path | None = None
    timeout_seconds: float = TIMEOUT_SECONDS

    def __call__(self, notes: Sequence[Note], *, dropped: int) -> None:
        """Send one mail.

        Raises:
            SendError: The server did not take it, or not for all readers.
        """
        message = self._message(notes, dropped)
        try:
            with self._connection() as server:
                refused = server.send_message(message)
        except smtplib.SMTPAuthenticationError as error:
            # Without the server's own words: some of them repeat what they were given.
            raise SendError(f"{self.host} refuses the account {self.user!r}: {error.smtp_code}") from error
        except (OSError, smtplib.SMTPException) as error:
            raise SendError(f"{self.host} did not take the mail: {type(error).__name__}") from error
        if refused:
            raise SendError(f"{self.host} refuses {', '.join(sorted(refused))}")

    def _connection(self) -> smtplib.SMTP:
        context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        if self.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout_seconds, context=context)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=self.timeout_seconds)
        try:
            if self.security == "starttls":
                server.starttls(context=context)
            if self.user and self.password is not None:
                server.login(self.user, self.password.get_secret_value())
        except BaseException:
            server.close()
            raise
        return server

    def _message(self, notes: Sequence[Note], dropped: int) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = f"OMERO import: {headline(notes)}"
        message["From"] = self.sender
        message["To"] = ", ".join(self.readers)
        message["Date"] = format_datetime(notes[-1].at)
        message["Message-ID"] = make_msgid(domain=self.sender.rpartition("@")[2])
        # No answer of a holiday's machine: RFC 3834.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(body(notes, dropped=dropped))
        return message
