"""Measures the fleet beside the official importer and the floor of the server: ``python -m fleet_bench``.

Data first: `model` and `targets` say what is measured and wanted, `cases` and `around` measure it on a `stage`,
`report` and `plots` tell it.
"""
