"""The exporter: what must be seen of the fleet when no worker runs.

``service`` owns the parts; each of ``brokereye``, ``deadeye``, ``logeye`` and ``omeroeye`` looks at one source and puts
what it saw on the ``board``, from which a scrape reads. ``views`` makes series of what was seen.
"""
