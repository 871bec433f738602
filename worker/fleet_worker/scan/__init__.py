"""What Bio-Formats makes of files that no plate format knows, asked in a child process.

The only place of the fleet that runs Java. See ``docs/explanation/scan.md``.

===================  ==================================================================================================
:mod:`answers`       what the child says, checked: data and pure parsing
:mod:`launching`     how the child is started: command, environment, isolation
``offline.py``       starts a program that can open no socket
:mod:`child`         one child process with its pipes and deadlines
:mod:`scanner`       keeps a child alive over many questions, and starts another when one hangs, dies or lies
``Scan.java``        the child
===================  ==================================================================================================
"""

from fleet_worker.scan.answers import Refusal, Refused, Scanned
from fleet_worker.scan.launching import Launch, Limits, bioformats, why_online
from fleet_worker.scan.scanner import Scanner

__all__ = ["Launch", "Limits", "Refusal", "Refused", "Scanned", "Scanner", "bioformats", "why_online"]
