"""Notifications by webhook and mail, with real receivers: what arrives, what is refused, and no secret in either."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from fleet_common.errors import UsageError
from fleet_common.notify.channel import SendError
from fleet_common.notify.mail import Mail
from fleet_common.notify.webhook import Webhook
from support.builders import REQUEST_ID
from support.notes import a_note
from support.receivers import MailReceiver, WebReceiver, a_certificate, a_mail_server

# --- the web ---


def hook(web: WebReceiver, **more: Any) -> Webhook:
    """The fleet's side of it."""
    return Webhook(SecretStr(f"http://127.0.0.1:{web.port}/services/T0/secret?x=1"), **more)


def test_a_webhook_gets_text_for_people_and_notes_for_programs(web: WebReceiver) -> None:
    """At its path, as JSON, with the token."""
    hook(web, token=SecretStr("t0ken"))([a_note()], dropped=0)
    (post,), (headers,) = web.posts, web.headers
    assert post["text"].startswith("dead: hcs/phenix1/P1/Images/Index.idx.xml (phenix1)\n\nhcs/phenix1")
    assert post["notes"][0] | {"at": ""} == {
        "kind": "dead",
        "at": "",
        "lane": "phenix1",
        "batch": "tuesday",
        "request_id": str(REQUEST_ID),
        "source": "hcs/phenix1/P1/Images/Index.idx.xml",
        "reason": "file-empty",
        "message": "P1/r01c01.tiff is empty",
        "next_action": "Copy the file again.",
    }
    assert web.paths == ["/services/T0/secret?x=1"]
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("code", [302, 400, 404, 429, 500, 503])
def test_any_answer_but_success_means_not_told(web: WebReceiver, code: int) -> None:
    """No redirect is followed: it would carry the token elsewhere."""
    web.answers = [code]
    with pytest.raises(SendError, match=f"^127.0.0.1 answered {code}$"):
        hook(web)([a_note()], dropped=0)
    assert len(web.posts) == 1


def test_a_receiver_that_is_away_is_named_by_its_host_only() -> None:
    """The address is a secret."""
    away = Webhook(SecretStr("http://localhost:1/services/secret"))
    with pytest.raises(SendError, match=r"^localhost does not answer: ConnectionRefusedError$"):
        away([a_note()], dropped=0)
    assert "secret" not in repr(away)


def test_a_receiver_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    """Given a server that takes the connection and says nothing, then it ends by its time-out."""
    with a_deaf_server() as port, pytest.raises(SendError, match="TimeoutError"):
        Webhook(SecretStr(f"http://127.0.0.1:{port}/"), timeout_seconds=0.1)([a_note()], dropped=0)


@contextmanager
def a_deaf_server() -> Iterator[int]:
    """A port that listens and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize("url", ["ftp://host/x", "host/x", "https:///x"])
def test_an_address_that_is_none_is_refused_at_the_start(url: str) -> None:
    """Not at the first dead plate."""
    with pytest.raises(UsageError, match=r"see notify\.webhook_url_file"):
        Webhook(SecretStr(url))


# --- mail ---


def a_mail(mails: MailReceiver, **changes: Any) -> Mail:
    """The fleet's side of it."""
    fields: dict[str, Any] = {
        "host": "localhost",
        "port": mails.port,
        "security": "none",
        "sender": "fleet@example.org",
        "readers": ("ann@example.org", "bob@example.org"),
    }
    return Mail(**(fields | changes))


def test_a_mail_says_it_all_to_every_reader(mails: MailReceiver) -> None:
    """Subject, text, and that no machine should answer."""
    a_mail(mails)([a_note(source="hcs/Zürich/P1")], dropped=0)
    (mail,) = mails.mails
    assert mail["Subject"] == "OMERO import: dead: hcs/Zürich/P1 (phenix1)"
    assert (mail["From"], mail["To"]) == ("fleet@example.org", "ann@example.org, bob@example.org")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@example.org>")
    assert "What to do: Copy the file again." in mail.get_content()


def test_a_mail_goes_over_verified_tls_with_a_login(tmp_path: Path) -> None:
    """Given a server that wants STARTTLS and a password, then both are used."""
    certificate = a_certificate(tmp_path)
    with a_mail_server(certificate) as mails:
        mail = a_mail(mails, security="starttls", ca_file=certificate, user="fleet", password=SecretStr("right"))
        mail([a_note()], dropped=0)
        assert (len(mails.mails), mails.logins) == (1, [("fleet", "right")])
        assert "right" not in repr(mail)


def test_a_server_whose_certificate_nobody_signed_gets_neither_password_nor_mail(tmp_path: Path) -> None:
    """Anybody could be it."""
    with a_mail_server(a_certificate(tmp_path)) as mails:
        mail = a_mail(mails, security="starttls", user="fleet", password=SecretStr("right"))
        with pytest.raises(SendError, match="did not take the mail: SSLCertVerificationError"):
            mail([a_note()], dropped=0)
        assert (mails.mails, mails.logins) == ([], [])


def test_a_wrong_password_is_said_without_it(tmp_path: Path) -> None:
    """Nor with what the server says of it."""
    certificate = a_certificate(tmp_path)
    with a_mail_server(certificate) as mails:
        mail = a_mail(mails, security="starttls", ca_file=certificate, user="fleet", password=SecretStr("wrong"))
        with pytest.raises(SendError, match=r"^localhost refuses the account 'fleet': 535$"):
            mail([a_note()], dropped=0)


def test_a_reader_that_is_refused_is_named(mails: MailReceiver) -> None:
    """The others have it; it is sent again, because one would not hear of it otherwise."""
    mails.refused = ("bob@example.org",)
    with pytest.raises(SendError, match=r"^localhost refuses bob@example\.org$"):
        a_mail(mails)([a_note()], dropped=0)


def test_a_mail_server_that_is_away_is_a_failure_like_others() -> None:
    """No traceback, no hang."""
    with pytest.raises(SendError, match="did not take the mail: ConnectionRefusedError"):
        a_mail(MailReceiver(port=1))([a_note()], dropped=0)
