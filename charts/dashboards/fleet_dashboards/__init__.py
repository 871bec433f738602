"""The fleet's dashboards for Grafana, made by code.

``spec`` says what a dashboard is; ``fleet`` (with ``engines``), ``batch`` and ``producers`` are dashboards; ``make``
turns them into Grafana's JSON; ``python -m fleet_dashboards`` writes the files for Compose and the chart.
"""
