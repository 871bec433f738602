"""OMERO, behind typed functions: the only place that imports ``omero``, ``Ice`` and ``Glacier2``.

:class:`~fleet_worker.omero.gateway.Gateway` is the service account. It checks owners, finds what earlier attempts left,
and opens an :class:`~fleet_worker.omero.session.OwnerSession` per attempt, which resolves the target, registers,
uploads, waits, verifies and annotates. What comes out are the plain values of :mod:`~fleet_worker.omero.facts`; what
goes wrong leaves as an error of :mod:`fleet_common.errors`. How OMERO behaves, and how that was found out, is written
in ``docs/explanation/omero-import.md``.
"""
