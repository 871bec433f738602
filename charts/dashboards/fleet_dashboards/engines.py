"""The lower half of the dashboard *Fleet*: what waits, what of OMERO is used, what workers and producers do."""

from __future__ import annotations

from typing import Final

from fleet_dashboards.spec import GREEN, ORANGE, Panel, Query, Row, highest, of, rate, total

_WARN_ABOVE_0: Final = ((None, GREEN), (1.0, ORANGE))

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
            width=4,
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
            "Free space",
            "How much space has OMERO left?",
            "Of its data folder. Below omero.min_free_bytes nothing is taken.",
            "bytes",
            (Query(f"min({of('omero_free_bytes', lane=False)})", "free"),),
            width=4,
        ),
        Panel(
            "Sessions",
            "How many sessions are open in OMERO?",
            "Of all users. A number that climbs while the fleet idles is a client that does not log out.",
            "short",
            (Query(highest("omero_open_sessions", lane=False), "open"),),
            width=4,
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
            "In an hour: leases lost, connections made anew, files sent again, events dropped, pings failed, defects.",
            "short",
            (
                Query(f"3600 * {rate('leases_lost_total', lane=False)}", "leases lost"),
                Query(f"3600 * {rate('broker_reconnects_total', lane=False)}", "reconnects"),
                Query(f"3600 * {rate('upload_repeats_total', lane=False)}", "files sent again"),
                Query(f"3600 * {rate('events_dropped_total', lane=False)}", "events dropped"),
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
            "Which lanes have plates that lack files or were never ended?",
            "They are not imported before somebody decides. The dashboard Producers has more.",
            "short",
            (Query(total("producer_acquisitions", 'state=~"incomplete|aborted"', by="lane"), "{{lane}}"),),
            "bars",
            12,
            _WARN_ABOVE_0,
        ),
    ),
)
