"""Subcommands of ``omero-fleet`` for acquisition hosts."""
