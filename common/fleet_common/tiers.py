"""The delays of retries. Pure data; shared by settings and broker, so that neither imports the other."""

from __future__ import annotations

from typing import Final

RETRY_TIERS_SECONDS: Final = (10, 60, 300, 1800, 7200, 28800)
"""10 s, 1 min, 5 min, 30 min, 2 h, 8 h: one queue each, because a queue's time to live is the only delay that
RabbitMQ has without a plugin."""
