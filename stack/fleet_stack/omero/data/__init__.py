"""Files that the OMERO part copies, compiles or hands to other programs."""

from pathlib import Path
from typing import Final

DATA: Final = Path(__file__).resolve().parent
