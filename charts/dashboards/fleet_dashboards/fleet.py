"""The dashboard *Fleet*: is it well, how much goes through, where does the time go, who must act."""

from __future__ import annotations

from typing import Final

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
_WARN_ABOVE_0: Final = ((None, GREEN), (1.0, ORANGE))

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

QUEUES: Final = Row(
    "What waits?",
    (
        Panel(
            "Ready by lane",
            "How many requests wait in each lane?",
            "Retry tiers are not in it.",
            "short",
            (Query(total("queue_ready", by="lane"), "{{lane}}"),),
            "stacked",
            6,
        ),
        Panel(
            "Held by workers",
            "How many requests does RabbitMQ count as taken and not settled?",
            "More than In work for long means that deliveries were lost.",
            "short",
            (Query(total("queue_unacked", by="lane"), "{{lane}}"),),
            "stacked",
            6,
        ),
        Panel(
            "Waiting for a retry",
            "How many requests come back later?",
            "In all retry tiers, from 10 seconds to 8 hours.",
            "short",
            (Query(total("retries_waiting", lane=False), "retries"),),
            width=6,
        ),
        Panel(
            "Age of the oldest",
            "How old is the oldest request that waits, by lane?",
            "A line that climbs at 45 degrees is a lane that nobody serves.",
            "s",
            (Query(highest("oldest_waiting_seconds", by="lane"), "{{lane}}"),),
            width=6,
        ),
    ),
)

SERVER: Final = Row(
    "How much of OMERO is used?",
    (
        Panel(
            "Slots taken",
            "How many of OMERO's slots does the fleet hold, and how many are there?",
            "All import slots taken all the time: OMERO is the limit, more workers do not help.",
            "short",
            (
                Query(total("slots_taken", by="kind", lane=False), "{{kind}} taken"),
                Query(highest("slots_configured", by="kind", lane=False), "{{kind}} in the settings"),
            ),
            width=6,
        ),
        Panel(
            "Waiting for a slot",
            "How many requests wait for a slot of OMERO?",
            "For uploads it is files that wait.",
            "short",
            (Query(total("slots_waiting", by="kind", lane=False), "{{kind}}"),),
            width=6,
        ),
        Panel(
            "Imports against the server's limit",
            "How many imports does OMERO run, and how many does it bear?",
            "The fleet keeps one thread free for everybody else.",
            "short",
            (
                Query(total("omero_running_imports", lane=False), "running or queued"),
                Query(highest("omero_threads", by="pool", lane=False), "{{pool}}"),
            ),
            width=6,
        ),
        Panel(
            "Free space and sessions",
            "How much space has OMERO left?",
            "Of its data folder. Below omero.min_free_bytes nothing is taken.",
            "bytes",
            (Query(f"min({of('omero_free_bytes', lane=False)})", "free"),),
            width=6,
        ),
    ),
)

WORKERS: Final = Row(
    "What do the workers do?",
    (
        Panel(
            "In work",
            "How many requests are in work, and how many could be?",
            "Fewer than places while requests wait: workers wait for slots, or OMERO is closed to them.",
            "short",
            (
                Query(total("requests_in_progress"), "in work"),
                Query(total("places", lane=False), "places"),
            ),
            width=6,
        ),
        Panel(
            "Longest silence",
            "Does an import hang?",
            "For how long the most silent request gave no sign of life, by phase; queued may be long.",
            "s",
            (Query(f"{highest('longest_silence_seconds', by='phase', lane=False)} > 0", "{{phase}}"),),
            width=6,
        ),
        Panel(
            "Connections",
            "How many workers are connected to OMERO and RabbitMQ?",
            "A gap between them is a worker that cannot work.",
            "short",
            (
                Query(total("omero_connected", lane=False), "OMERO"),
                Query(total("broker_connected", by="role", lane=False), "RabbitMQ {{role}}"),
            ),
            width=6,
        ),
        Panel(
            "Trouble",
            "Are there signs of trouble that no request shows?",
            "In an hour: leases lost, connections made anew, files sent again, pings that failed, defects.",
            "short",
            (
                Query(f"3600 * {rate('leases_lost_total', lane=False)}", "leases lost"),
                Query(f"3600 * {rate('broker_reconnects_total', lane=False)}", "reconnects"),
                Query(f"3600 * {rate('upload_repeats_total', lane=False)}", "files sent again"),
                Query(f"3600 * {rate('keep_alive_failures_total', lane=False)}", "pings failed"),
                Query(f"3600 * {rate('internal_errors_total', lane=False)}", "defects"),
            ),
            width=6,
        ),
    ),
)

PRODUCERS: Final = Row(
    "Do the producers deliver?",
    (
        Panel(
            "Last heartbeat",
            "Is a producer silent?",
            "Time since the most silent producer of each lane was heard of; over 15 minutes is an alert.",
            "s",
            (Query(f"time() - min by (lane) ({of('producer_last_heartbeat_timestamp_seconds')})", "{{lane}}"),),
            width=12,
        ),
        Panel(
            "Incomplete plates",
            "Which lanes have plates that lack files?",
            "They are not imported before somebody decides. The dashboard Producers has more.",
            "short",
            (Query(total("producer_acquisitions", 'state="incomplete"', by="lane"), "{{lane}}"),),
            "bars",
            12,
            _WARN_ABOVE_0,
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
