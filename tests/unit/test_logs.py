"""Structured logs, and what never gets into them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from fleet_common.logs import configure, redact
from fleet_common.settings import LogSettings

SESSION = "6f1d2c3b-4a59-4e68-8c77-1d2e3f405162"
REQUEST = "0d2f4c31-8f0e-5b3a-9a52-6a7c5f1d2e3b"

REDACTED = [
    ("amqps://worker:hunter2@rabbit:5671/import", "amqps://***@rabbit:5671/import"),
    ("see https://user@omero/web and http://a:b@c", "see https://***@omero/web and http://***@c"),
    ("password=hunter2", "password=***"),
    ("password = hunter2, next", "password = *** next"),
    ("Passwd: hunter2", "Passwd: ***"),
    ("pass=hunter2", "pass=***"),
    ("{'password': 'hunter2'}", "{'password': ***"),
    ('{"password":"hunter2"}', '{"password":***'),
    (f"session={SESSION}", "session=***"),
    (f"session {SESSION} expired", "session *** expired"),
    (f"omero.session.uuid = {SESSION}", "omero.session.uuid = ***"),
    (f"sessionUuid='{SESSION}'", "sessionUuid='***'"),
    (f'Session("{SESSION}")', 'Session("***")'),
]
KEPT = [
    "",
    "uploaded 3 files",
    f"request {REQUEST} imported",
    "https://omero.example.org/webclient/?show=plate-5",
    "mail to alice@example.org",
    "the password file is missing",
    "2026-01-31T10:00:00Z",
    "session closed",
]


@pytest.mark.parametrize(("text", "expected"), REDACTED)
def test_a_secret_is_taken_out_of_a_text(text: str, expected: str) -> None:
    """Passwords, credentials in addresses, session ids."""
    assert redact(text) == expected
    assert redact(expected) == expected


@pytest.mark.parametrize("text", KEPT)
def test_anything_else_is_kept(text: str) -> None:
    """Request ids are uuids as well, and no secret."""
    assert redact(text) == text


def as_json(level: str = "info") -> None:
    """Log in JSON; inside the test, because the stream that is captured belongs to it."""
    configure(LogSettings(level=level, format="json"))


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What was logged."""
    captured = capsys.readouterr()
    assert captured.out == "", "standard output belongs to the results of commands"
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_fact_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With time, level and its key-values."""
    as_json()
    structlog.get_logger().info("imported", files=3, seconds=1.5, lost=None, fine=True)
    (line,) = logged(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "imported", "level": "info", "files": 3, "seconds": 1.5, "lost": None, "fine": True}


def test_what_is_bound_to_a_request_is_on_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Request, lane and attempt need not be repeated."""
    as_json()
    with structlog.contextvars.bound_contextvars(request=REQUEST):
        structlog.get_logger().info("one")
    structlog.get_logger().info("two")
    one, two = logged(capsys)
    assert one["request"] == REQUEST
    assert "request" not in two


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_is_respected(capsys: pytest.CaptureFixture[str], level: str, expected: list[str]) -> None:
    """What is below is not written."""
    as_json(level)
    log = structlog.get_logger()
    log.debug("x")
    log.info("x")
    log.warning("x")
    log.error("x")
    assert [line["level"] for line in logged(capsys)] == expected


@pytest.mark.parametrize(
    "value",
    [
        "amqp://w:hunter2@rabbit",
        ConnectionError("cannot reach amqp://w:hunter2@rabbit"),
        ["amqp://w:hunter2@rabbit"],
        ("x", {"deep": ["password=hunter2"]}),
        {"url": "amqp://w:hunter2@rabbit"},
        {"password": "hunter2"},
        frozenset({"password=hunter2"}),
        SecretStr("hunter2"),
        b"password=hunter2",
    ],
    ids=lambda one: type(one).__name__,
)
@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_is_logged_however_deep_it_lies(capsys: pytest.CaptureFixture[str], form: str, value: object) -> None:
    """In exceptions, lists and tables as well."""
    configure(LogSettings(format=form))
    structlog.get_logger().info("login to amqp://w:hunter2@rabbit", value=value)
    written = capsys.readouterr().err
    assert "login to amqp://***@rabbit" in written
    assert "hunter2" not in written


@pytest.mark.parametrize("name", ["password", "passwd", "session_uuid"])
def test_a_key_that_names_a_secret_hides_its_value(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Whatever it looks like."""
    as_json()
    structlog.get_logger().info("x", **{name: "swordfish"})
    assert logged(capsys)[0][name] == "***"


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_is_logged_redacted_and_without_a_warning(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """A defect shows where it is, and no credentials."""
    configure(LogSettings(format=form))
    try:
        int("amqp://w:hunter2@rabbit")
    except ValueError:
        structlog.get_logger().exception("attempt ended by a defect")
    written = capsys.readouterr().err
    assert "Traceback" in written
    assert "test_logs.py" in written
    assert "amqp://***@rabbit" in written
    assert "hunter2" not in written


def test_the_console_form_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, no colours: it often goes into a file."""
    configure(LogSettings(format="console"))
    structlog.get_logger().info("imported", files=3)
    (line,) = capsys.readouterr().err.splitlines()
    assert "imported" in line
    assert "files=3" in line
    assert "\x1b" not in line


def test_pika_does_not_repeat_what_the_link_says() -> None:
    """Its messages have addresses in them."""
    configure(LogSettings())
    assert not logging.getLogger("pika.adapters").isEnabledFor(logging.ERROR)
