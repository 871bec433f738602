"""Decides whether an acquisition is complete: pure functions over what was seen of a plate, look by look.

A half-written plate imports without an error (ome/bioformats#2827), and no vendor but one says when it is done. So six
layers must agree, see ``docs/explanation/completeness.md``: :mod:`layers` has one function for each, :mod:`deciding`
makes a state of them, :mod:`model` is the data. No I/O, no clock, no threads: ``fleet_producer.watch`` looks.
"""

from fleet_producer.completeness.deciding import decide
from fleet_producer.completeness.model import Decision, History, Look, Mark, Policy, State

__all__ = ["Decision", "History", "Look", "Mark", "Policy", "State", "decide"]
