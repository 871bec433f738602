"""The dashboard *Producers*: what acquisition hosts say of themselves in heartbeats, for nobody can scrape them."""

from __future__ import annotations

from typing import Final

from fleet_dashboards.spec import GREEN, ORANGE, RED, Board, Panel, Query, Row, highest, of, total

HEALTH: Final = Row(
    "Are they there?",
    (
        Panel(
            "Lanes with producers",
            "How many lanes have a producer that tells heartbeats?",
            "Hosts that only call omero-fleet submit tell none.",
            "short",
            (Query(f"count(count by (lane) ({of('producer_last_heartbeat_timestamp_seconds')}))"),),
            "stat",
            6,
        ),
        Panel(
            "Most silent",
            "For how long was the most silent producer not heard of?",
            "They tell one heartbeat a minute; over 15 minutes is an alert.",
            "s",
            (Query(f"time() - min({of('producer_last_heartbeat_timestamp_seconds')})"),),
            "stat",
            6,
            ((None, GREEN), (180.0, ORANGE), (900.0, RED)),
        ),
        Panel(
            "Oldest unconfirmed",
            "How old is the oldest request that RabbitMQ has not confirmed?",
            "It is on its host's disk; nothing is lost while the spool has room.",
            "s",
            (Query(highest("producer_oldest_unconfirmed_seconds")),),
            "stat",
            6,
            ((None, GREEN), (600.0, ORANGE), (3600.0, RED)),
        ),
        Panel(
            "Incomplete plates",
            "How many plates lack files that their index names, or were never ended?",
            "Each needs a person: omero-fleet plate inspect.",
            "short",
            (Query(total("producer_acquisitions", 'state=~"incomplete|aborted"')),),
            "stat",
            6,
            ((None, GREEN), (1.0, ORANGE)),
        ),
        Panel(
            "Parked plates",
            "How many complete plates cannot be published?",
            "They wait for a rule, for room or for a person: omero-fleet watch --state on their host.",
            "short",
            (Query(total("producer_parked")),),
            "stat",
            8,
            ((None, GREEN), (1.0, ORANGE)),
        ),
        Panel(
            "Folders away",
            "How many watched folders cannot be seen?",
            "Shares that are not mounted, and folders that the watch may not read.",
            "short",
            (Query(total("producer_folders_away")),),
            "stat",
            8,
            ((None, GREEN), (1.0, ORANGE)),
        ),
        Panel(
            "Set aside",
            "How many files of the spools could not be read?",
            "Each may be a request that nobody publishes: omero-fleet spool list on its host.",
            "short",
            (Query(total("producer_set_aside")),),
            "stat",
            8,
            ((None, GREEN), (1.0, RED)),
        ),
    ),
)

PLATES: Final = Row(
    "What do they watch?",
    (
        Panel(
            "Acquisitions by state",
            "How many acquisitions are being written, settling, complete, published?",
            "Settling ones are published when nothing has changed for a while.",
            "short",
            (Query(total("producer_acquisitions", 'state!="ignored"', by="state"), "{{state}}"),),
            "stacked",
            12,
        ),
        Panel(
            "Being acquired",
            "Which lanes have an instrument at work?",
            "Acquiring and settling together.",
            "short",
            (Query(total("producer_acquisitions", 'state=~"acquiring|settling"', by="lane"), "{{lane}}"),),
            width=12,
        ),
        Panel(
            "Since the last scan",
            "Do they get through their folders?",
            "Time since the slowest producer of a lane ended a scan; a line that climbs is a share that hangs.",
            "s",
            (Query(highest("producer_seconds_since_scan", by="lane"), "{{lane}}"),),
            width=12,
        ),
        Panel(
            "Since the last heartbeat",
            "When did each lane fall silent?",
            "A saw tooth up to a minute is healthy.",
            "s",
            (Query(f"time() - min by (lane) ({of('producer_last_heartbeat_timestamp_seconds')})", "{{lane}}"),),
            width=12,
        ),
    ),
)

SPOOLS: Final = Row(
    "What have they still to hand over?",
    (
        Panel(
            "Spooled requests",
            "How many requests do the hosts keep until their outcome is known?",
            "They go when the request is settled, so this follows what is in the fleet.",
            "short",
            (Query(total("producer_spool_requests", by="lane"), "{{lane}}"),),
        ),
        Panel(
            "Unconfirmed requests",
            "How many requests has RabbitMQ not confirmed?",
            "Anything but 0 for long: RabbitMQ is away from there, or refuses them.",
            "short",
            (Query(total("producer_unconfirmed_requests", by="lane"), "{{lane}}"),),
        ),
        Panel(
            "Spool size",
            "How much disk do the spools need?",
            "The quota is producer.spool_quota_bytes, 1 GB unless set.",
            "bytes",
            (Query(total("producer_spool_bytes", by="lane"), "{{lane}}"),),
        ),
    ),
)

PRODUCERS: Final = Board(
    "producers",
    "omero-import-producers",
    "Producers",
    "Acquisition hosts: are they there, what do they watch, what have they still to hand over.",
    (HEALTH, PLATES, SPOOLS),
)
