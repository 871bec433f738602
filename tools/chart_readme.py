"""Write the README of the chart from values.yaml: every value with its default and what its comment says.

The same values give the same bytes; `tests/unit/test_chart_values.py` fails when the page is not current.

    python tools/chart_readme.py             writes the page
    python tools/chart_readme.py --check     writes nothing; ends with 1 when it differs
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from made_file import write_or_check

CHART: Final = Path(__file__).resolve().parent.parent / "charts" / "omero-import-fleet"
_KEY: Final = re.compile(r"( *)([A-Za-z]+):")
_INTRODUCTION: Final = """\
# The chart omero-import-fleet

<!-- Made by tools/chart_readme.py from values.yaml; edit that, then run: make reference -->

{description}.
Needs Kubernetes {kubernetes}, a RabbitMQ and an OMERO.server; KEDA, the Prometheus operator and Grafana only where a
value asks for them. It makes no Secret: passwords are those of Secrets that are there already.

```sh
helm upgrade --install fleet charts/omero-import-fleet --namespace imaging --values my-values.yaml
helm test fleet --namespace imaging
```

[Install on Kubernetes](../../docs/how-to/install-on-kubernetes.md) goes through it step by step;
[ci/minimal-values.yaml](ci/minimal-values.yaml) is the least that must be said,
[ci/full-values.yaml](ci/full-values.yaml) says everything. A value that is not in the list is refused.
"""


class UndocumentedValueError(Exception):
    """A value has no comment that begins with its name; the text says which."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of the chart: its path with dots, its default, what it means."""

    path: str
    default: Any
    meaning: str


def values(text: str) -> Iterator[Value]:
    """Every value of values.yaml that has a comment, in its order.

    Raises:
        UndocumentedValueError: A value that is no group has no comment that begins with its path.
    """
    defaults, path, comment = yaml.safe_load(text), list[str](), list[str]()
    documented = ""
    for line in text.splitlines():
        key = _KEY.match(line)
        if line.strip().startswith("#"):
            comment.append(line.strip().removeprefix("#").removeprefix(" "))
        elif key is None:
            comment = []
        else:
            path = [*path[: len(key[1]) // 2], key[2]]
            name = ".".join(path)
            if not documented or not name.startswith(f"{documented}."):
                documented = ""
                default = _at(defaults, path)
                if comment:
                    documented = name
                    yield Value(name, default, _meaning(name, comment))
                elif not isinstance(default, dict) or not default:
                    raise UndocumentedValueError(f"values.yaml: {name} has no comment above it")
            comment = []


def _at(defaults: Any, path: list[str]) -> Any:
    for part in path:
        defaults = defaults[part]
    return defaults


def _meaning(name: str, comment: list[str]) -> str:
    """The sentence without the name that it begins with; an example that follows it is left to values.yaml."""
    text = " ".join(line for line in comment if not line.startswith("  "))
    said = re.match(rf"{re.escape(name)}(?: (?:is|are|says))?[ :]+(.+)", text)
    if said is None:
        raise UndocumentedValueError(f"values.yaml: the comment of {name} does not begin with its name: {text!r}")
    short = re.sub(r" For example[,:].*", "", said[1])
    return short[0].upper() + short[1:]


def page() -> str:
    """The README."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    found = list(values((CHART / "values.yaml").read_text(encoding="utf-8")))
    lines = [_INTRODUCTION.format(description=chart["description"], kubernetes=chart["kubeVersion"].split("-")[0])]
    for group in dict.fromkeys(one.path.partition(".")[0] for one in found if "." in one.path):
        lines += [f"## {group}", "", *_table([one for one in found if one.path.startswith(f"{group}.")]), ""]
    single = [one for one in found if "." not in one.path]
    return "\n".join([*lines[:1], "## Top of the file", "", *_table(single), "", *lines[1:]]).rstrip() + "\n"


def _table(rows: list[Value]) -> list[str]:
    cells = [(f"`{one.path}`", f"`{json.dumps(one.default)}`", one.meaning.replace("|", r"\|")) for one in rows]
    return ["| value | default | meaning |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in cells)]


if __name__ == "__main__":
    sys.exit(write_or_check(CHART / "README.md", page(), __doc__))
