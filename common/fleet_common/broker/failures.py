"""What can go wrong with the broker, as rows of the fleet's one table of errors.

Role: subclasses of :class:`fleet_common.errors.Transient` that say what the broker did; all have the reason
``broker-unavailable``, so that none of them costs a request an attempt. Neighbours: everything in this package raises
them. Threading: plain data.
"""

from __future__ import annotations

from fleet_common.errors import Reason, Transient


class BrokerFailure(Transient):
    """The root of what the broker, or the way to it, can do to us."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.BROKER_UNAVAILABLE, message)


class BrokerUnavailable(BrokerFailure):
    """There is no connection, or it was lost; nothing that needs a confirm was sent."""


class BrokerSilent(BrokerFailure):
    """The broker did not answer within the deadline; what was asked may still happen."""


class BrokerRefused(BrokerFailure):
    """The broker closed a channel.

    Attributes:
        code: AMQP's reply code: 403 no permission, 404 not there, 405 somebody else's, 406 another one of that name.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class PublishTimeout(BrokerFailure):
    """Confirm timed out: the message may be there or not. The same message may safely be published again."""


class PublishUnroutable(BrokerFailure):
    """No queue wanted the message, for as long as an exchange may need after a start of the broker."""


class PublishRefused(BrokerFailure):
    """The broker did not take the message.

    Attributes:
        code: 403, 404 or 406 from a closed channel; None for a negative confirm (full lane, queue without majority).
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
