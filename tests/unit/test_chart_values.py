"""The chart's values: a schema that refuses what it does not know, a comment and a default each, a current README."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import pytest
import yaml

from fleet_common.notify.settings import NotifySettings
from fleet_common.watching import WatchSettings
from support.chart import CHART, ROOT, Values, case, merged, rendered
from support.scripts import module_of

RUN_SECONDS = 60
TOOL = ROOT / "tools/chart_readme.py"
SCHEMA: Values = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


chart_readme: Any = module_of(TOOL)


@pytest.mark.parametrize(
    "change",
    [
        {"wroker": {}},
        {"worker": {"replicas": 3}},
        {"worker": {"replicaCount": "3"}},
        {"worker": {"parallelUpload": 33}},
        {"worker": {"autoscaling": {"maxReplicaCount": 3}}},
        {"worker": {"extraEnv": [{"name": "A", "value": "b", "secret": "c"}]}},
        {"worker": {"extraMounts": {"data": {"hostPath": "/data", "mountPath": "/data"}}}},
        {"worker": {"extraMounts": {"data": {"existingClaim": "a", "mountPath": "data"}}}},
        {"worker": {"resources": {"cpu": "1"}}},
        {"workerClasses": {"inplace": {"replicas": 1}}},
        {"worker": {"inPlace": {"shares": {"hcs": "data/hcs"}}}},
        {"worker": {"inPlace": {"mount": "/repository"}}},
        {"workerClasses": {"Inplace": {"lanes": {}}}},
        {"workerClasses": {"exporter": {"lanes": {}}}},
        {"exporter": {"replicaCount": 2}},
        {"notify": {"settings": {"smtp_hots": "mail"}}},
        {"notify": {"settings": {"smtp_password_file": "/etc/passwd"}}},
        {"notify": {"settings": {"mail_to": ["nobody"]}}},
        {"producers": {"phenix1": {"user": "a", "existingSecret": "b"}}},
        {"producers": {"phenix1": {"user": "a", "existingSecret": "b", "watch": {"folder": []}}}},
        {"producers": {"phenix1": {"user": "a", "existingSecret": "b", "watch": {"folders": [{"paths": "/x"}]}}}},
        {"producers": {"phenix1": {"user": "a", "existingSecret": "b", "watch": {"state": "/x"}}}},
        {"broker": {"port": 70000}},
        {"image": {"digest": "sha256:short"}},
        {"lanes": {"Upper Case": {}}},
        {"lanes": {"hcs": {"owners": ["a"]}}},
        {"shares": {"hcs": {"hostPath": "/data"}}},
        {"security": {"userId": 0}},
        {"log": {"level": "loud"}},
        {"metrics": {"podMonitor": {"label": {}}}},
        {"networkPolicy": {"ingress": []}},
    ],
)
def test_unknown_and_wrong_values_are_refused(change: Values) -> None:
    with pytest.raises(helm_python.HelmValuesError):
        rendered(merged(case("minimal"), change))


def test_the_defaults_fit_their_own_schema() -> None:
    with helm_python.Chart.load(CHART) as chart:
        jsonschema.validate(chart.values, chart.schema or {})


def resolved(part: Values) -> Values:
    name = part.get("$ref", "").rpartition("/")[2]
    found: Values = SCHEMA["definitions"][name] if name else part
    return found


def leaves(part: Values, path: str = "") -> Iterator[str]:
    for name, inner in resolved(part).get("properties", {}).items():
        if resolved(inner).get("properties") and name not in {"resources", "settings"}:
            yield from leaves(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def objects_in(part: Any) -> Iterator[Values]:
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from objects_in(inner)


def test_no_object_of_the_schema_takes_unknown_keys() -> None:
    """Given a list of properties anywhere in the schema, nothing besides it is allowed there."""
    listed = [
        one for one in objects_in(SCHEMA) if isinstance(one.get("properties"), dict) and one.get("type") == "object"
    ]

    assert len(listed) > 15
    assert all(one["additionalProperties"] is False for one in listed)


def test_every_value_is_in_the_schema_with_a_default_and_a_comment() -> None:
    """Given values.yaml, each value of the schema has a default there and a comment that begins with its name."""
    documented = {one.path for one in chart_readme.values((CHART / "values.yaml").read_text(encoding="utf-8"))}
    assert documented == set(leaves(SCHEMA)) - {"global"}


def test_a_class_of_workers_can_say_all_that_worker_can() -> None:
    worker = SCHEMA["properties"]["worker"]["properties"]
    named = SCHEMA["properties"]["workerClasses"]["additionalProperties"]["properties"]
    assert named == {**worker, "lanes": {"$ref": "#/definitions/lanes"}}


def test_what_the_fleet_says_of_a_watcher_and_of_notifications_stands_in_the_schema() -> None:
    """Given tools/chart_schema.py, the file is as it writes it, and knows every setting but folders and secrets."""
    checked = subprocess.run(
        [sys.executable, ROOT / "tools/chart_schema.py", "--check"],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr
    known = SCHEMA["definitions"]["watch"]["properties"].keys() | {"state"}
    assert known == WatchSettings.model_fields.keys()
    left_out = NotifySettings.model_fields.keys() - SCHEMA["definitions"]["notify"]["properties"].keys()
    assert all(name.endswith("_file") for name in left_out)


class TestReadme:
    """tools/chart_readme.py."""

    def test_the_page_is_current(self) -> None:
        assert (CHART / "README.md").read_text(encoding="utf-8") == chart_readme.page()

    def test_check_says_when_it_is_not(self, tmp_path: Path) -> None:
        """Given a changed default, when the page is checked, then it ends with 1 and says what to run."""
        for name in ("Chart.yaml", "values.yaml", "README.md"):
            text = (CHART / name).read_text(encoding="utf-8").replace("replicaCount: 2", "replicaCount: 9")
            (tmp_path / "charts/omero-import-fleet").mkdir(parents=True, exist_ok=True)
            (tmp_path / "charts/omero-import-fleet" / name).write_text(text, encoding="utf-8")
        script = shutil.copytree(TOOL.parent, tmp_path / "tools") / TOOL.name

        checked = subprocess.run(
            [sys.executable, script, "--check"], capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )

        assert checked.returncode == 1
        assert "make reference" in checked.stderr

    def test_a_value_comes_with_its_default_and_meaning(self) -> None:
        text = "a:\n  # a.b is how\n  # long it takes.\n  b: 3\n# c are words. For example:\n#   x: 1\nc: []\n"
        assert list(chart_readme.values(text)) == [
            chart_readme.Value("a.b", 3, "How long it takes."),
            chart_readme.Value("c", [], "Words."),
        ]

    def test_what_a_documented_group_holds_needs_no_comment(self) -> None:
        (one,) = chart_readme.values("# r is what it may use.\nr:\n  cpu: 1\n")
        assert one == chart_readme.Value("r", {"cpu": 1}, "What it may use.")

    @pytest.mark.parametrize("text", ["a: 1\n", "# of a\na: 1\n", "a:\n  b: 1\n"])
    def test_a_value_without_a_comment_that_names_it_is_an_error(self, text: str) -> None:
        with pytest.raises(chart_readme.UndocumentedValueError, match=r"a"):
            list(chart_readme.values(text))

    def test_a_bar_in_a_meaning_does_not_break_the_table(self) -> None:
        (row,) = chart_readme._table([chart_readme.Value("a", "b", "c | d")])[2:]
        assert row == r'| `a` | `"b"` | c \| d |'


def test_notes_warn_of_what_is_not_safe() -> None:
    def notes(name: str) -> str:
        return next(text for path, text in rendered(case(name)).items() if path.endswith("NOTES.txt"))

    assert "WARNING" not in notes("full")
    for word in ("shares", "omero.verifyTls", "broker.tls"):
        assert re.search(rf"WARNING: .*{re.escape(word)}", notes("trial"))
    assert "nobody is alerted" in notes("minimal")
    assert "nobody is alerted" not in notes("full")


def test_the_schema_is_written_as_the_formatter_of_json_would() -> None:
    assert (CHART / "values.schema.json").read_text(encoding="utf-8") == json.dumps(SCHEMA, indent=2) + "\n"


def test_every_case_says_what_it_is_for() -> None:
    for file in (CHART / "ci").glob("*-values.yaml"):
        text = file.read_text(encoding="utf-8")
        assert text.startswith("# ")
        assert yaml.safe_load(text)
