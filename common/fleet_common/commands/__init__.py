"""Subcommands of ``omero-fleet`` for operators."""
