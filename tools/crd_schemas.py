"""Write tests/crds: closed JSON schemas of the custom resources that the chart can make.

The schemas come from the packages `cloudcoil.models.keda` 2.16.1.0 and `cloudcoil.models.prometheus-operator` 0.80.1.0
(Apache-2.0), which are made from the operators' own definitions. They are needed only to write these files anew:

    python3 -m venv crds
    crds/bin/pip install cloudcoil.models.keda==2.16.1.0 cloudcoil.models.prometheus-operator==0.80.1.0
    crds/bin/python tools/crd_schemas.py

What is kept of each kind is its `spec`, without references, titles and defaults. It is a structural schema, so the
suite of `make kube-test` gives the same file to a real API server; `tests/support/chart.py` closes its objects.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parent.parent / "tests" / "crds"
KINDS: Final = {
    "keda.v1alpha1": ("ScaledObject", "TriggerAuthentication"),
    "prometheus_operator.v1": ("PodMonitor", "PrometheusRule"),
}
KEPT: Final = ("type", "enum", "pattern", "minLength", "minimum", "maximum", "required")
# Later than the package, KEDA 2.18: what is kept while the broker's API is away (KEDA documentation, "Fallback").
LATER: Final = {("ScaledObject", "fallback"): {"behavior": {"type": "string"}}}

Schema = dict[str, Any]


def unfolded(part: Schema, definitions: Schema) -> Schema:
    """A schema without references."""
    if "$ref" in part:
        return unfolded(definitions[part["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in part:
        options = [unfolded(one, definitions) for one in part["anyOf"] if one.get("type") != "null"]
        return options[0] if len(options) == 1 else {"x-kubernetes-int-or-string": True}
    # Python's expressions know no flags inside; only one pattern has them, of a field that the chart leaves out.
    kept: Schema = {name: part[name] for name in KEPT if name in part and "(?i)" not in str(part[name])}
    if part.get("type") == "array":
        return {**kept, "items": unfolded(part["items"], definitions)}
    if isinstance(part.get("additionalProperties"), dict):
        return {**kept, "additionalProperties": unfolded(part["additionalProperties"], definitions)}
    if "properties" in part:
        return {**kept, "properties": {name: unfolded(one, definitions) for name, one in part["properties"].items()}}
    return kept


def main() -> None:
    """Write one file a kind."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for module, kinds in KINDS.items():
        models = importlib.import_module(f"cloudcoil.models.{module}")
        for kind in kinds:
            whole = getattr(models, kind).model_json_schema(by_alias=True)
            spec = unfolded(whole["properties"]["spec"], whole["$defs"])
            for (later, field), more in LATER.items():
                if later == kind:
                    spec["properties"][field]["properties"] |= more
            (FOLDER / f"{kind}.json").write_text(json.dumps(spec, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
