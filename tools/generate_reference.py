"""Write the pages of docs/reference that are made from the code: schemas, settings, metrics, reasons, commands.

The same code gives the same bytes on every machine: no host name, no width of a terminal, no order of a set.

    python tools/generate_reference.py             writes what differs
    python tools/generate_reference.py --check     writes nothing; ends with 1 and names the files that differ
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

import click
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fleet_common import messages
from fleet_common.cli import omero_fleet
from fleet_common.control import Order
from fleet_common.errors import RULES, Rule, Verdict
from fleet_common.events import Event
from fleet_common.exits import Exit
from fleet_common.fleetmetrics import Catalogue
from fleet_common.metrics import Metrics
from fleet_common.notify.metrics import NotifyMetrics
from fleet_common.producermetrics import ProducerMetrics
from fleet_common.settings import LaneRule, Settings
from fleet_common.watching import PlateRule, WatchedFolder

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "reference"
WIDTH: Final = 110
JSON_SCHEMA: Final = "https://json-schema.org/draft/2020-12/schema"
NOTE: Final = "<!-- Made by tools/generate_reference.py from {source}; edit that, then run: make reference -->"
HOST_NAME: Final = "the host's name"
_WORDS: Final = re.compile(r"\^\([a-z|]+\)\$\Z")


class NotDocumentedError(Exception):
    """The code holds something that cannot be documented; the text says what."""


def pages() -> Mapping[str, str]:
    """Every page by its file name."""
    makers: Mapping[str, Callable[[], str]] = {
        "import-request.schema.json": lambda: as_json(messages.json_schema()),
        "event.schema.json": lambda: as_json(Event.model_json_schema()),
        "control-order.schema.json": lambda: as_json(Order.model_json_schema()),
        "settings.md": settings_page,
        "exit-codes.md": exit_codes_page,
        "metrics.md": metrics_page,
        "reasons.md": reasons_page,
        "commands.md": commands_page,
    }
    return {name: make() for name, make in makers.items()}


def as_json(schema: Mapping[str, Any]) -> str:
    """A JSON schema as a file: sorted, so that a moved field is no change."""
    return json.dumps({"$schema": JSON_SCHEMA, **schema}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def settings_page() -> str:
    """Every group, field, type, default and environment variable."""
    prefix = Settings.model_config.get("env_prefix", "")
    groups = [name for name, field in Settings.model_fields.items() if _group_of(field)]
    single = [name for name in Settings.model_fields if name not in groups]
    schema = Settings.model_json_schema()
    lines = [
        *_head("Settings", "common/fleet_common/settings.py"),
        "One TOML file, named by `--config` or `OMERO_FLEET_CONFIG`; the environment wins over it. Unknown keys are",
        "errors. A list or table in the environment is written as JSON. `omero-fleet config show` prints the result.",
        "",
        "## Top of the file",
        "",
        *_settings_table(Settings, schema, single, prefix),
    ]
    for name in groups:
        model = _group_of(Settings.model_fields[name])
        lines += ["", f"## `[{name}]`", "", *_sentence(model), ""]
        lines += _settings_table(model, _part(schema, model), list(model.model_fields), f"{prefix}{name.upper()}__")
    lines += ["", "## `[worker.lanes.<lane>]`", "", *_sentence(LaneRule), ""]
    lines += _settings_table(LaneRule, _part(schema, LaneRule), list(LaneRule.model_fields), None)
    for model, name in ((WatchedFolder, "folders"), (PlateRule, "rules")):
        lines += ["", f"## `[[watch.{name}]]`", "", *_sentence(model), ""]
        lines += _settings_table(model, _part(schema, model), list(model.model_fields), None)
    return _text(lines)


def _group_of(field: FieldInfo) -> Any:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _part(schema: Mapping[str, Any], model: type[BaseModel]) -> Mapping[str, Any]:
    part: Mapping[str, Any] = schema["$defs"][model.__name__]
    return part


def _settings_table(
    model: type[BaseModel], schema: Mapping[str, Any], names: list[str], prefix: str | None
) -> list[str]:
    """One row a field; without a prefix there is no variable for a single field."""
    columns = ["field", "type", "default", "meaning", *(["environment variable"] if prefix is not None else [])]
    rows = []
    for name in names:
        field, part = model.model_fields[name], schema["properties"][name]
        if not field.description:
            raise NotDocumentedError(f"{model.__name__}.{name} has no docstring")
        variable = [] if prefix is None else [f"`{prefix}{name.upper()}`"]
        rows.append([f"`{name}`", kind_of(part), default_of(field), field.description, *variable])
    return _table(columns, rows)


def kind_of(part: Mapping[str, Any]) -> str:
    """A type in words, from its JSON schema."""
    if "anyOf" in part:
        return " or ".join(kind_of(one) for one in part["anyOf"] if one.get("type") != "null")
    if "$ref" in part:
        return "string" if isinstance(part.get("default"), str) else "table"
    if part["type"] == "array":
        return f"list of {kind_of(part['items'])}"
    if part["type"] == "object":
        values = part.get("additionalProperties") or next(iter(part.get("patternProperties", {}).values()))
        return f"table of {kind_of(values)}"
    words = {"path": "path", "password": "secret"}
    kind: str = words.get(part.get("format", ""), part["type"])
    return kind + _bounds(part)


def _bounds(part: Mapping[str, Any]) -> str:
    if "minimum" in part and "maximum" in part:
        return f", {part['minimum']} to {part['maximum']}"
    if "exclusiveMinimum" in part:
        return f" above {part['exclusiveMinimum']:g}"
    if _WORDS.match(part.get("pattern", "")):
        return f": {part['pattern'].strip('^$()').replace('|', ', ')}"
    return ""


def default_of(field: FieldInfo) -> str:
    """The default as TOML writes it; what depends on the host is named, not shown."""
    if field.default_factory is not None:
        return "empty" if field.default_factory is dict else HOST_NAME
    if field.is_required():
        return "required"
    if field.default is None or field.default in ("", ()):
        return "none"
    return f"`{json.dumps(field.default)}`"


def exit_codes_page() -> str:
    """What each exit code means."""
    rows = [[str(int(one)), f"`{one.name.lower().replace('_', '-')}`", one.meaning] for one in Exit]
    return _text([*_head("Exit codes", "common/fleet_common/exits.py"), *_table(["code", "name", "meaning"], rows)])


def reasons_page() -> str:
    """What follows from each reason."""
    rows = [[f"`{reason}`", rule.verdict, *_tries(rule), rule.next_action] for reason, rule in RULES.items()]
    return _text(
        [
            *_head("Reasons", "common/fleet_common/errors.py"),
            "Why a request was not imported. The same words stand in events, dead letters, logs and metric labels.",
            "",
            "- `transient`: tried again by itself; later tries wait longer than the first.",
            "- `permanent`: dead at once; the same request can never succeed.",
            "- `needs-operator`: dead at once; a person must look before anything else happens.",
            "- `lease-lost`: the worker stops and settles nothing; another one has the request.",
            "",
            *_table(["reason", "verdict", "attempts", "first wait", "dead after", "what to do"], rows),
        ]
    )


def _tries(rule: Rule) -> list[str]:
    if rule.verdict is not Verdict.TRANSIENT:
        return ["", "", ""]
    attempts = str(rule.attempts) if rule.costs_attempt else "not counted"
    age = f"{rule.max_age_seconds:g} s" if rule.max_age_seconds else ""
    return [attempts, f"{rule.first_delay_seconds:g} s", age]


def metrics_page() -> str:
    """Name, type, labels and help of every metric."""
    worker, exporter = _families(lambda one: Metrics(one, lanes=("lane",))), _families(_exporter_metrics)
    watch, notifier = _families(ProducerMetrics), _families(NotifyMetrics)
    return _text(
        [
            *_head("Metrics", "common/fleet_common/metrics.py, producermetrics.py, fleetmetrics.py, notify/metrics.py"),
            "Served at `/metrics` on the port `metrics.port`. A histogram has `_bucket`, `_sum` and `_count`. Beside",
            "these there are the usual `process_...` metrics of Prometheus clients. The exporter leaves out what it",
            "does not know now, because RabbitMQ or OMERO is away: it never shows an old value.",
            "",
            "## Of a worker, and of a producer while it sends",
            "",
            *_table(["metric", "type", "labels", "meaning"], map(_metric_row, worker)),
            "",
            "## Of a watch",
            "",
            *_table(["metric", "type", "labels", "meaning"], map(_metric_row, watch)),
            "",
            "## Of the exporter",
            "",
            *_table(["metric", "type", "labels", "meaning"], map(_metric_row, exporter)),
            "",
            "## Of `notify`",
            "",
            *_table(["metric", "type", "labels", "meaning"], map(_metric_row, notifier)),
            "",
            "## Values of labels",
            "",
            "All of them are there from the start, with 0. The values of `reason` are explained in",
            "[reasons.md](reasons.md); `version` is that of the installed fleet, `lane` one of those in the settings.",
            "",
            *_table(["label", "values"], _label_values([*worker, *watch, *exporter, *notifier])),
        ]
    )


def _families(make: Callable[[CollectorRegistry], object]) -> list[Metric]:
    registry = CollectorRegistry()
    make(registry)
    families = sorted(registry.collect(), key=_exposed)
    return [family for family in families if family.name.startswith("omero_")]


def _exporter_metrics(registry: CollectorRegistry) -> None:
    registry.register(Catalogue())


def _metric_row(family: Metric) -> list[str]:
    return [f"`{_exposed(family)}`", family.type, _labels(family), family.documentation]


def _exposed(family: Metric) -> str:
    return family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")


def _labels(family: Metric) -> str:
    if not family.samples:
        raise NotDocumentedError(f"{family.name} has no sample: known label values must exist from the start")
    names = dict.fromkeys(chain.from_iterable(sample.labels for sample in family.samples))
    return " ".join(f"`{name}`" for name in names if name != "le")


def _label_values(families: Iterable[Metric]) -> Iterator[list[str]]:
    values: dict[str, dict[str, None]] = {}
    for sample in chain.from_iterable(family.samples for family in families):
        for label, value in sample.labels.items():
            values.setdefault(label, {})[value] = None
    for label in sorted(values.keys() - {"le", "lane", "version"}):
        yield [f"`{label}`", " ".join(f"`{value}`" for value in values[label] if value)]


def commands_page() -> str:
    """The help texts of all commands."""
    lines = _head("Commands", "the commands themselves")
    lines.append("Every command ends with one of the [exit codes](exit-codes.md).")
    for path, text in helps(omero_fleet, "omero-fleet", None):
        lines += ["", f"## {path}", "", "```text", text, "```"]
    return _text(lines)


def helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    """Path and help text of a command and of all below it."""
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context.command_path, "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None and not found.hidden:
                yield from helps(found, below, context)


def _head(title: str, source: str) -> list[str]:
    return [f"# {title}", "", NOTE.format(source=source), ""]


def _sentence(model: type[BaseModel]) -> list[str]:
    return (model.__doc__ or "").strip().splitlines()


def _table(columns: list[str], rows: Iterable[Iterable[str]]) -> list[str]:
    cells = (" | ".join(" ".join(cell.split()).replace("|", "\\|").replace("``", "`") for cell in row) for row in rows)
    return [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns), *(f"| {row} |" for row in cells)]


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def differing(folder: Path, made: Mapping[str, str]) -> list[str]:
    """The names of the pages that are missing or differ in a folder."""
    return [name for name, text in made.items() if _read(folder / name) != text]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main() -> int:
    """Write or check the pages; the exit code is returned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when a page differs")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pages are (docs/reference)")
    arguments = parser.parse_args()
    made = pages()
    differs = differing(arguments.folder, made)
    for name in differs:
        print(f"{arguments.folder / name} {'differs: run make reference' if arguments.check else 'written'}")
        if not arguments.check:
            arguments.folder.mkdir(parents=True, exist_ok=True)
            (arguments.folder / name).write_text(made[name], encoding="utf-8", newline="\n")
    return 1 if arguments.check and differs else 0


if __name__ == "__main__":
    sys.exit(main())
