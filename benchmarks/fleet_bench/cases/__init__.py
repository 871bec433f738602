"""Comparisons with the official importer, one module for each kind of material."""
