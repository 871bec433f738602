"""What holds for all unit tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from support.receivers import MailReceiver, WebReceiver, a_mail_server, a_web_server


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command sets up logging for its process; the next test must not write to the stream of this one."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def web() -> Iterator[WebReceiver]:
    """A real web server that takes notifications."""
    with a_web_server() as receiver:
        yield receiver


@pytest.fixture
def mails() -> Iterator[MailReceiver]:
    """A real mail server without TLS."""
    with a_mail_server() as receiver:
        yield receiver
