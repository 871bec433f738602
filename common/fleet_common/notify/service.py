"""The life of ``omero-fleet notify``: follow the log, tell people, remember what was told.

Threads and their owners: the log watch, each channel and the health server own theirs; the main thread waits for the
signal. The place is written on the log watch's thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog

from fleet_common.broker import StreamReader
from fleet_common.broker.streams import Start
from fleet_common.connect import broker_address, broker_names
from fleet_common.errors import UsageError
from fleet_common.health import Health
from fleet_common.logwatch import LogWatch
from fleet_common.notify.channel import Channel, Send
from fleet_common.notify.mail import Mail
from fleet_common.notify.metrics import NotifyMetrics
from fleet_common.notify.notes import Note
from fleet_common.notify.place import Place
from fleet_common.notify.settings import NotifySettings, read_secret
from fleet_common.notify.teller import Teller
from fleet_common.notify.webhook import Webhook
from fleet_common.settings import Settings
from fleet_common.signals import wait_for_signal

_LOG = structlog.get_logger()
SAVE_SECONDS: Final = 5.0


class Notifier:
    """One process that notifies.

    Args:
        settings: Of broker, metrics and notifications.
        monotonic: Seconds.

    Raises:
        UsageError: There is nobody to tell, a secret cannot be read, or the state file is none.
    """

    def __init__(self, settings: Settings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._monotonic = settings, monotonic
        notify = settings.notify
        sends = channels_of(notify)
        self.metrics = NotifyMetrics(channels=sends)
        self._channels = {
            name: Channel(
                name,
                send,
                self.metrics,
                gather_seconds=notify.gather_seconds,
                give_up_seconds=notify.give_up_seconds,
            )
            for name, send in sends.items()
        }
        place = Place.load(notify.state_file) if notify.state_file else None
        self._teller = Teller(place, self._put, clock=_now, quiet_seconds=notify.quiet_seconds)
        self._saved = place
        self._saved_at = float("-inf")
        address, names = broker_address(settings.broker), broker_names(settings.broker)
        start: Start = place.read_from if place else "next"
        self._log = LogWatch(lambda: StreamReader(address, names.event_log), start, self._teller.hear, tick=self._tick)
        self.metrics.know_log(lambda: self._log.problem is None)

    def run(self, stop: threading.Event) -> None:
        """Tell until ``stop`` is set."""
        with ExitStack() as stack:
            if self._settings.metrics.port:
                health = Health(
                    self._settings.metrics, self.metrics.registry, live=self._liveness(), ready=self._readiness()
                )
                health.start()
                stack.callback(health.stop)
            for channel in self._channels.values():
                channel.start()
                stack.callback(channel.stop)
            self._log.start()
            stack.callback(self._log.stop)
            _LOG.info("notifications started", channels=sorted(self._channels))
            wait_for_signal(stop)
        self._save()
        _LOG.info("notifications stopped")

    def _put(self, note: Note) -> None:
        for channel in self._channels.values():
            channel.put(note)

    def _tick(self) -> None:
        if self._log.problem is not None or self._monotonic() - self._saved_at < SAVE_SECONDS:
            return
        self._saved_at = self._monotonic()
        self._teller.announce()
        self._save()

    def _save(self) -> None:
        file = self._settings.notify.state_file
        if file is None or self._log.problem is not None:
            return
        untold = [first for channel in self._channels.values() if (first := channel.first_untold) is not None]
        place = self._teller.place(min(untold, default=None))
        if place == self._saved:
            return
        try:
            place.save(file)
        except OSError as error:
            # People are told all the same; after a restart they are told some of it again.
            _LOG.warning("what was told cannot be remembered", file=str(file), error=str(error))
            return
        self._saved = place

    def _liveness(self) -> Mapping[str, Callable[[], str | None]]:
        channels = {name: partial(_ended, channel) for name, channel in self._channels.items()}
        return {"event-log": lambda: self._log.stuck, **channels}

    def _readiness(self) -> Mapping[str, Callable[[], str | None]]:
        return {"event-log": lambda: self._log.problem}


def channels_of(settings: NotifySettings) -> Mapping[str, Send]:
    """The ways to people that the settings name.

    Raises:
        UsageError: There is none, or a secret cannot be read.
    """
    sends: dict[str, Send] = {}
    if settings.webhook_url_file is not None:
        token = settings.webhook_token_file
        sends["webhook"] = Webhook(
            read_secret(settings.webhook_url_file, "the webhook's address"),
            read_secret(token, "the webhook's token") if token else None,
            settings.smtp_ca_file,
        )
    if settings.has_mail:
        sends["mail"] = _mail(settings)
    if not sends:
        raise UsageError("nobody to tell: set notify.webhook_url_file, or notify.smtp_host and notify.mail_to")
    return sends


def _mail(settings: NotifySettings) -> Mail:
    password = settings.smtp_password_file
    return Mail(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=settings.smtp_security,
        sender=settings.mail_from,
        readers=settings.mail_to,
        user=settings.smtp_user,
        password=read_secret(password, "the mail account's password") if password else None,
        ca_file=settings.smtp_ca_file,
    )


def _ended(channel: Channel) -> str | None:
    return channel.ended


def _now() -> datetime:
    return datetime.now(UTC)
