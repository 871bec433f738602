"""What stand-ins for a publisher have in common: a message that was begun is published when it is waited for."""

from __future__ import annotations

from functools import partial

from fleet_common.broker import OnTheWay, Outgoing
from fleet_common.events import Event


class Confirming:
    """Gives ``begin`` and ``begin_event`` to a stand-in that can ``publish`` and ``publish_event``."""

    def begin(self, message: Outgoing, *, deadline_seconds: float) -> OnTheWay:
        """Publish once it is waited for."""
        return OnTheWay(partial(self.publish, message, deadline_seconds=deadline_seconds))

    def begin_event(self, event: Event, *, deadline_seconds: float) -> OnTheWay:
        """Tell once it is waited for."""
        return OnTheWay(partial(self.publish_event, event, required=True, deadline_seconds=deadline_seconds))

    def publish(self, message: Outgoing, *, deadline_seconds: float) -> None:
        """Take a message, or raise."""
        raise NotImplementedError

    def publish_event(self, told: Event, *, required: bool, deadline_seconds: float) -> None:
        """Take an event, or raise."""
        raise NotImplementedError
