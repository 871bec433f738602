"""Subcommands of ``omero-fleet`` for workers."""
