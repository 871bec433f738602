"""Structured logging: one line a fact, with the same words as events and metrics, and without secrets.

Everything goes to standard error; standard output belongs to the results of commands.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog

from fleet_common.settings import LogSettings

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_URL_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s@]*@")
# A session of OMERO is known by a random uuid, and whoever knows it is logged in.
_SESSION: Final = re.compile(r"(?i)(session\S{0,20}[\s:='\"(]{1,3})[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_PASSWORD: Final = re.compile(r"(?i)(pass(?:word|wd)?['\"]?\s*[=:]\s*)\S+")
_SECRET_KEYS: Final = frozenset({"password", "passwd", "session_uuid"})


def redact(text: str) -> str:
    """The text without passwords, session ids and credentials in URLs."""
    text = _URL_CREDENTIALS.sub("***@", text)
    text = _SESSION.sub(r"\1***", text)
    return _PASSWORD.sub(r"\1***", text)


def configure(settings: LogSettings) -> None:
    """Set up logging for this process: ours through structlog, that of libraries as warnings and errors only."""
    level = _LEVELS[settings.level]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redacted,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        level=max(level, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # its messages repeat what our link already says, with URLs


def _redacted(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: "***" if key in _SECRET_KEYS else _clean(value) for key, value in event.items()}


def _clean(value: Any) -> Any:
    """The value with all its texts redacted; what a renderer would turn into text becomes text here."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return _redacted(None, "", {str(key): inner for key, inner in value.items()})
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner) for inner in value]
    return redact(str(value))
