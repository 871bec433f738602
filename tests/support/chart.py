"""The Helm chart, rendered without a cluster by Helm as a library, and the custom resources' schemas."""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import helm_python
import yaml

from fleet_common.settings import Settings, load

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "charts/omero-import-fleet"
CRDS: Final = ROOT / "tests/crds"
CASES: Final = sorted(path.stem.removesuffix("-values") for path in (CHART / "ci").glob("*-values.yaml"))

Values = dict[str, Any]


def case(name: str) -> Values:
    """The values of one case in ci/."""
    values: Values = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text(encoding="utf-8"))
    return values


def merged(base: Values, change: Mapping[str, Any]) -> Values:
    """Values with some of them changed."""
    result = dict(base)
    for key, value in change.items():
        result[key] = merged(base.get(key, {}), value) if isinstance(value, dict) else value
    return result


def rendered(values: Values, chart: Path = CHART) -> dict[str, str]:
    """Text by path of its template."""
    return _rendered(json.dumps(values, sort_keys=True), chart)


@functools.lru_cache(maxsize=256)
def _rendered(values: str, folder: Path) -> dict[str, str]:
    with helm_python.Chart.load(folder) as chart:
        return chart.render(json.loads(values), name="fleet", namespace="imaging")


def objects(values: Values, chart: Path = CHART) -> list[Values]:
    """Every object, hooks and tests included."""
    texts = (text for path, text in rendered(values, chart).items() if path.endswith(".yaml"))
    # The parser in C: it is ten times as fast, and every test reads every object.
    return [document for text in texts for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def component_of(one: Values) -> str:
    """What part of the fleet an object belongs to; empty for what belongs to all."""
    name: str = one["metadata"]["labels"].get("app.kubernetes.io/component", "")
    return name


def of_kind(values: Values, kind: str, component: str | None = None) -> list[Values]:
    """All objects of a kind, or those of one component."""
    found = [one for one in objects(values) if one["kind"] == kind]
    return [one for one in found if component is None or component_of(one) == component]


def one_of(values: Values, kind: str, component: str) -> Values:
    """The only object of its kind and component."""
    (one,) = of_kind(values, kind, component)
    return one


def pods(values: Values) -> Iterator[tuple[str, Values]]:
    """Every pod's specification with the name of its object, those of hooks and tests included."""
    for one in objects(values):
        name = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] == "Pod":
            yield name, one["spec"]
        elif "template" in one.get("spec", {}):
            yield name, one["spec"]["template"]["spec"]


def pod_of(values: Values, component: str) -> Values:
    """The pod's specification of a Deployment."""
    pod: Values = one_of(values, "Deployment", component)["spec"]["template"]["spec"]
    return pod


def container_of(values: Values, component: str) -> Values:
    """The only container of a Deployment's pod."""
    (container,) = pod_of(values, component)["containers"]
    found: Values = container
    return found


def settings_of(values: Values, component: str = "worker") -> Values:
    """The settings of a component as they stand in its ConfigMap."""
    (text,) = (
        one["data"]["fleet.toml"] for one in of_kind(values, "ConfigMap", component) if "fleet.toml" in one["data"]
    )
    return tomllib.loads(text)


def loaded(values: Values, folder: Path, component: str = "worker") -> Settings:
    """The settings of a component as the fleet understands them."""
    (text,) = (
        one["data"]["fleet.toml"] for one in of_kind(values, "ConfigMap", component) if "fleet.toml" in one["data"]
    )
    file = folder / f"{component}.toml"
    file.write_text(text, encoding="utf-8")
    return load(file)


def crd_kinds() -> tuple[str, ...]:
    """The kinds whose schemas are kept in tests/crds."""
    return tuple(sorted(path.stem for path in CRDS.glob("*.json")))


def crd_schema(kind: str) -> Values:
    """What the `spec` of a custom resource may hold; every object in it is closed."""
    schema: Values = json.loads((CRDS / f"{kind}.json").read_text(encoding="utf-8"))
    return _closed(schema)


def _closed(schema: Values) -> Values:
    closed = dict(schema)
    if "items" in schema:
        closed["items"] = _closed(schema["items"])
    if "properties" in schema:
        closed["properties"] = {name: _closed(part) for name, part in schema["properties"].items()}
        closed["additionalProperties"] = False
    return closed
