"""Write into values.schema.json what the fleet says of `producers.<name>.watch`, `notify.settings` and its alerts.

So a wrong setting is refused by Helm, not by a pod that does not start, and so is an alert that there is not.

    python tools/chart_schema.py             writes the file
    python tools/chart_schema.py --check     writes nothing; ends with 1 when it differs
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from fleet_common.notify.settings import NotifySettings
from fleet_common.settinggroup import Group
from fleet_common.watching import WatchSettings
from made_file import write_or_check

CHART: Final = Path(__file__).resolve().parent.parent / "charts" / "omero-import-fleet"
FILE: Final = CHART / "values.schema.json"
RULES: Final = CHART / "files" / "rules" / "omero-import-fleet.yaml"
GROUPS: Final[dict[str, type[Group]]] = {"watch": WatchSettings, "notify": NotifySettings}
# Where the chart itself mounts volumes and secrets, so nobody sets it.
NOT_A_VALUE: Final = re.compile(r"state|.*_file")
_DROPPED: Final = ("title", "description", "default", "format")


def definitions(name: str, group: type[Group]) -> dict[str, Any]:
    """The definition of a group of settings, and those that it uses."""
    schema = group.model_json_schema(ref_template=f"#/definitions/{name}{{model}}")
    parts = {f"{name}{part}": _plain(content) for part, content in schema.pop("$defs", {}).items()}
    wanted = {key: value for key, value in schema["properties"].items() if not NOT_A_VALUE.fullmatch(key)}
    return {name: _plain({**schema, "properties": wanted}), **parts}


def _plain(part: Any, *, names: bool = False) -> Any:
    """Without what only people read; under `properties` the keys are names of settings, whatever they are."""
    if isinstance(part, list):
        return [_plain(one) for one in part]
    if not isinstance(part, dict):
        return part
    kept = {key: value for key, value in part.items() if names or key not in _DROPPED}
    return {key: _plain(value, names=key == "properties" and not names) for key, value in kept.items()}


def alerts() -> list[str]:
    """The names of all alerts, in their order."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]


def text() -> str:
    """The whole file as it should be."""
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    schema["properties"]["metrics"]["properties"]["rules"]["properties"]["disabled"]["items"] = {"enum": alerts()}
    kept = {name: part for name, part in schema["definitions"].items() if not name.startswith(tuple(GROUPS))}
    made = {key: part for name, group in GROUPS.items() for key, part in definitions(name, group).items()}
    return json.dumps({**schema, "definitions": {**kept, **made}}, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(write_or_check(FILE, text(), __doc__))
