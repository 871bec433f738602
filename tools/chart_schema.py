"""Write into values.schema.json what the fleet itself says of `producers.<name>.watch`; the rest is kept by hand.

So a wrong setting of a producer is refused by Helm, not by a pod that does not start.

    python tools/chart_schema.py             writes the file
    python tools/chart_schema.py --check     writes nothing; ends with 1 when it differs
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from fleet_common.watching import WatchSettings

FILE: Final = Path(__file__).resolve().parent.parent / "charts" / "omero-import-fleet" / "values.schema.json"
PREFIX: Final = "watch"
# Where the chart itself mounts the volume, so nobody sets it.
NOT_A_VALUE: Final = "state"
_DROPPED: Final = ("title", "description", "default", "format")


def definitions() -> dict[str, Any]:
    """The definition `watch`, and those that it uses."""
    schema = WatchSettings.model_json_schema(ref_template="#/definitions/watch{model}")
    parts = {f"{PREFIX}{name}": _plain(part) for name, part in schema.pop("$defs").items()}
    schema["properties"].pop(NOT_A_VALUE)
    return {PREFIX: _plain(schema), **parts}


def _plain(part: Any, *, names: bool = False) -> Any:
    """Without what only people read; under `properties` the keys are names of settings, whatever they are."""
    if isinstance(part, list):
        return [_plain(one) for one in part]
    if not isinstance(part, dict):
        return part
    kept = {key: value for key, value in part.items() if names or key not in _DROPPED}
    return {key: _plain(value, names=key == "properties" and not names) for key, value in kept.items()}


def text() -> str:
    """The whole file as it should be."""
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    own = {name: part for name, part in schema["definitions"].items() if not name.startswith(PREFIX)}
    return json.dumps({**schema, "definitions": {**own, **definitions()}}, indent=2) + "\n"


def main() -> int:
    """Write the file, or say that it differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    wanted = text()
    current = FILE.read_text(encoding="utf-8") == wanted
    if not parser.parse_args().check:
        FILE.write_text(wanted, encoding="utf-8")
    elif not current:
        print(f"{FILE} is not current: run make reference", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
