"""The dashboard *Fleet*: is it well, how much goes through, where does the time go, who must act."""

from __future__ import annotations

from typing import Final

from fleet_dashboards.engines import PRODUCERS, QUEUES, SERVER, WORKERS
from fleet_dashboards.spec import (
    GREEN,
    ORANGE,
    RED,
    Board,
    Panel,
    Query,
    Row,
    highest,
    of,
    quantile,
    rate,
    total,
)

_WITHIN_4H: Final = 'le="14400.0"'
_OMERO: Final = 'source="omero"'
_BROKER: Final = 'source!="omero"'
_FAILED: Final = 'outcome=~"dead|retried"'
_BAD_ABOVE_0: Final = ((None, GREEN), (1.0, RED))

HEALTH: Final = Row(
    "Is it well?",
    (
        Panel(
            "Within 4 hours",
            "What share of the last day's requests was verified in OMERO within 4 hours of submission?",
            "The objective is 90%. Below it see Queue wait and Seconds by phase.",
            "percentunit",
            (
                Query(
                    f"sum(increase({of('end_to_end_seconds_bucket', _WITHIN_4H)}[1d]))"
                    f" / sum(increase({of('end_to_end_seconds_count')}[1d]))"
                ),
            ),
            "stat",
            4,
            ((None, RED), (0.8, ORANGE), (0.9, GREEN)),
            1.0,
        ),
        Panel(
            "Dead letters",
            "How many requests were given up and wait for a person?",
            "Anything but 0 needs omero-fleet dead list.",
            "short",
            (Query(total("dead_letters", lane=False)),),
            "stat",
            4,
            _BAD_ABOVE_0,
        ),
        Panel(
            "Oldest that waits",
            "How old is the oldest request that nobody works at?",
            "Retries count, too. Over 4 hours is an alert unless the lane is paused.",
            "s",
            (Query(highest("oldest_waiting_seconds")),),
            "stat",
            4,
            ((None, GREEN), (3600.0, ORANGE), (14400.0, RED)),
        ),
        Panel(
            "OMERO",
            "Can OMERO be worked with?",
            "1 while the exporter reads it; 0 means that nothing is imported, and nothing is lost.",
            "short",
            (Query(f"min({of('source_up', _OMERO, lane=False)})"),),
            "stat",
            4,
            ((None, RED), (1.0, GREEN)),
        ),
        Panel(
            "RabbitMQ",
            "Can RabbitMQ be worked with?",
            "1 while the exporter reads queues and event log.",
            "short",
            (Query(f"min({of('source_up', _BROKER, lane=False)})"),),
            "stat",
            4,
            ((None, RED), (1.0, GREEN)),
        ),
        Panel(
            "Workers",
            "How many workers are connected?",
            "Counted in RabbitMQ, so that it is true while Prometheus sees none of them.",
            "short",
            (Query(total("workers_connected", lane=False)),),
            "stat",
            4,
            ((None, RED), (1.0, GREEN)),
        ),
    ),
)

IMPORTS: Final = Row(
    "How much goes through?",
    (
        Panel(
            "Requests by outcome",
            "How many requests end in an hour, and how?",
            "retried and handed-back come again by themselves; dead does not.",
            "short",
            (Query(f"3600 * {rate('requests_total', by='outcome')}", "{{outcome}}"),),
            "stacked",
            12,
        ),
        Panel(
            "Failures by reason",
            "Why do requests fail?",
            "The words are those of docs/reference/reasons.md, which says what to do for each.",
            "short",
            (
                Query(
                    f"3600 * {rate('requests_total', _FAILED, by='reason, outcome')} > 0",
                    "{{outcome}}: {{reason}}",
                ),
            ),
            "stacked",
            12,
        ),
        Panel(
            "Bytes per second",
            "How fast do bytes reach OMERO?",
            "Counted while they are sent, repeated files included. 0 while imports run in the server is normal.",
            "Bps",
            (Query(rate("bytes_total", by="lane"), "{{lane}}"),),
            "stacked",
        ),
        Panel(
            "Images per second",
            "How fast do images appear in OMERO?",
            "Counted when a request is verified, so a plate is a peak.",
            "short",
            (Query(rate("images_total", by="lane"), "{{lane}}"),),
            "stacked",
        ),
        Panel(
            "Plates and files per hour",
            "How many plates and files an hour?",
            "Plates when they are verified, files when they are sent.",
            "short",
            (
                Query(f"3600 * {rate('plates_total')}", "plates"),
                Query(f"3600 * {rate('files_total')}", "files"),
            ),
        ),
        Panel(
            "End to end",
            "How long does a request take from submission until it is verified in OMERO?",
            "Half of all requests, and 95%, by the clock of the acquisition host.",
            "s",
            (
                Query(quantile(0.5, "end_to_end_seconds"), "half"),
                Query(quantile(0.95, "end_to_end_seconds"), "95%"),
            ),
        ),
        Panel(
            "Queue wait",
            "How long does a request wait until a worker takes it?",
            "Long waits with free slots mean too few workers; with all slots taken OMERO is the limit.",
            "s",
            (
                Query(quantile(0.5, "queue_wait_seconds"), "half"),
                Query(quantile(0.95, "queue_wait_seconds"), "95%"),
            ),
        ),
        Panel(
            "Seconds by phase",
            "In which phase of an import does the time go?",
            "Seconds spent in each phase in a second, all workers together. setId to thumbnails is OMERO's own work, "
            "named as omero fs importtime names it.",
            "s",
            (Query(rate("phase_seconds_sum", by="phase", lane=False), "{{phase}}"),),
            "stacked",
        ),
    ),
)

FLEET: Final = Board(
    "fleet",
    "omero-import-fleet",
    "Fleet",
    "Health and objective, imports, queues, slots, workers and producers of the OMERO import fleet.",
    (HEALTH, IMPORTS, QUEUES, SERVER, WORKERS, PRODUCERS),
)
