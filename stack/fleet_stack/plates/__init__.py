"""Makers of plates and images that real Bio-Formats accepts: for the demo, the tests and the benchmarks.

``python -m fleet_stack.plates --help`` makes them on the command line.
"""

from fleet_stack.plates.harmony import make_plate
from fleet_stack.plates.pixels import tiff
from fleet_stack.plates.spec import MadePlate, PlaneKey, PlateSpec

__all__ = ["MadePlate", "PlaneKey", "PlateSpec", "make_plate", "tiff"]
