"""The lanes that are paused, for ``omero-fleet status``: read from the control log where the account may read it."""

from __future__ import annotations

from fleet_common import render
from fleet_common.broker import BrokerFailure, BrokerRefused, OrderReader
from fleet_common.connect import broker_address, broker_names
from fleet_common.control import Orders
from fleet_common.settings import BrokerSettings


def pause_lines(settings: BrokerSettings) -> list[str]:
    """One line for every pause that holds; none for an account that may not know, such as a dashboard's."""
    orders = Orders()
    try:
        with OrderReader(broker_address(settings), broker_names(settings)) as reader:
            for order in reader.read_all():
                orders.add(order)
    except BrokerRefused:
        return []
    except BrokerFailure as error:
        # Where requests are is known already, and worth more than nothing.
        return [f"which lanes are paused is not known: {error}"]
    return [render.paused_line(pause) for pause in orders.paused]
