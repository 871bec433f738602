"""A real OMERO.server, its database and OMERO.web from packages, without Docker.

``part`` is what the stack's commands call; the other modules each know one thing: ``wheels``, ``jars`` and ``packages``
what is downloaded, ``schema`` and ``database`` the PostgreSQL, ``config`` and ``icegrid`` the server's files,
``server`` its processes, ``users`` the accounts of a small facility, ``web`` OMERO.web, ``bioformats`` what the
server's reader says of a file.
"""
