"""Posts messages as JSON. The address is a secret: no text that this module makes has more of it than the host.

The body has a ``text``, which Slack, Mattermost and Rocket.Chat show as it is, and the ``notes`` for programs. No
redirect is followed: it would carry the token elsewhere. Threading: stateless.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from fleet_common.errors import UsageError
from fleet_common.notify.channel import SendError
from fleet_common.notify.notes import Note, body, headline

TIMEOUT_SECONDS: Final = 15.0
_MOST_NOTES: Final = 500
_GOOD: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class Webhook:
    """One receiver.

    Attributes:
        url: Its address.
        token: For ``Authorization: Bearer``; None for none.
        ca_file: Certificates to trust instead of the system's.
        timeout_seconds: For connecting, and for the answer.
    """

    url: SecretStr = field(repr=False)
    token: SecretStr | None = field(default=None, repr=False)
    ca_file: Path | None = None
    timeout_seconds: float = TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        parts = urlsplit(self.url.get_secret_value())
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError("the webhook's address is no http or https URL: see notify.webhook_url_file")

    def __call__(self, notes: Sequence[Note], *, dropped: int) -> None:
        """Post one message.

        Raises:
            SendError: It was not taken.
        """
        text = f"{headline(notes)}\n\n{body(notes, dropped=dropped)}"
        message = {"text": text, "notes": [note.as_json() for note in notes[:_MOST_NOTES]]}
        parts = urlsplit(self.url.get_secret_value())
        where = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        try:
            connection = self._connection()
            try:
                connection.request("POST", where, json.dumps(message).encode(), self._headers())
                status = connection.getresponse().status
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise SendError(f"{parts.hostname} does not answer: {type(error).__name__}") from error
        if status not in _GOOD:
            raise SendError(f"{parts.hostname} answered {status}")

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url.get_secret_value())
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self.timeout_seconds)
        context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        return http.client.HTTPSConnection(host, port, timeout=self.timeout_seconds, context=context)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "omero-import-fleet"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.get_secret_value()}"
        return headers
