"""The fleet's dashboards for Grafana, made by code.

``spec`` says what a dashboard is, ``fleet``, ``batch`` and ``producers`` are dashboards, ``make`` turns them into
Grafana's JSON, and ``python -m fleet_dashboards`` writes the files that compose and the chart hand to Grafana.
"""
