"""The dashboard *Plate batch*: the newest batch of a lane, from its first request to its last outcome.

Batches have names and grow without end, so Prometheus knows only the newest of each lane; all of them, by name and down
to the single plate, has ``omero-fleet status --batch``.
"""

from __future__ import annotations

from typing import Final

from fleet_dashboards.spec import GREEN, ORANGE, RED, Board, Panel, Query, Row, of, rate, total

_OPEN: Final = 'state=~"waiting|in-work"'
_NAMES: Final = "Of the newest batch of each chosen lane; its name: omero-fleet status."

PROGRESS: Final = Row(
    "How far is it?",
    (
        Panel(
            "Requests",
            "How many requests has the batch?",
            _NAMES,
            "short",
            (Query(total("batch_requests", by="lane"), "{{lane}}"),),
            "stat",
            6,
        ),
        Panel(
            "Settled",
            "What share of the batch has an outcome?",
            "100% means that nothing more happens by itself.",
            "percentunit",
            (
                Query(
                    f"1 - {total('batch_requests', _OPEN, by='lane')} / ({total('batch_requests', by='lane')} > 0)",
                    "{{lane}}",
                ),
            ),
            "stat",
            6,
            ((None, ORANGE), (1.0, GREEN)),
            1.0,
        ),
        Panel(
            "Not imported",
            "How many of its requests are dead, cancelled or incomplete?",
            "Each needs a person: omero-fleet status --batch NAME says which and why.",
            "short",
            (Query(total("batch_requests", 'state=~"dead|cancelled|incomplete"', by="lane"), "{{lane}}"),),
            "stat",
            6,
            ((None, GREEN), (1.0, RED)),
        ),
        Panel(
            "Running for",
            "How long has the batch been under way?",
            "From its first event to its last, so it stops with the last outcome.",
            "s",
            (
                Query(
                    f"max by (lane) ({of('batch_last_event_timestamp_seconds')})"
                    f" - min by (lane) ({of('batch_first_event_timestamp_seconds')})",
                    "{{lane}}",
                ),
            ),
            "stat",
            6,
        ),
        Panel(
            "By state",
            "How do its requests go from waiting to imported?",
            _NAMES,
            "short",
            (Query(total("batch_requests", by="state"), "{{state}}"),),
            "stacked",
            12,
        ),
        Panel(
            "Bytes sent",
            "How many of the bytes that workers have begun with were sent?",
            "A request that nobody has taken yet is not in it.",
            "bytes",
            (
                Query(total("batch_size", 'part="bytes"'), "begun"),
                Query(total("batch_sent", 'part="bytes"'), "sent"),
            ),
            width=12,
        ),
    ),
)

SPEED: Final = Row(
    "How fast is it?",
    (
        Panel(
            "Bytes per second",
            "How fast do the lane's bytes reach OMERO?",
            "Of everything in the lane, the batch among it.",
            "Bps",
            (Query(rate("bytes_total", by="lane"), "{{lane}}"),),
        ),
        Panel(
            "Files sent",
            "How many of the files were sent?",
            "Of the requests that workers have begun.",
            "short",
            (
                Query(total("batch_size", 'part="files"'), "begun"),
                Query(total("batch_sent", 'part="files"'), "sent"),
            ),
        ),
        Panel(
            "Images per second",
            "How fast do the lane's images appear in OMERO?",
            "Counted when a plate is verified.",
            "short",
            (Query(rate("images_total", by="lane"), "{{lane}}"),),
        ),
    ),
)

BATCH: Final = Board(
    "plate-batch",
    "omero-import-batch",
    "Plate batch",
    "The newest batch of a lane: how far, how fast, and what of it needs a person.",
    (PROGRESS, SPEED),
    "now-24h",
)
