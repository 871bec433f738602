"""The private Kubernetes, as far as it can be judged without building it."""

from __future__ import annotations

import pytest
import yaml

from fleet_stack.console import StackError
from fleet_stack.kubernetes import programs
from fleet_stack.kubernetes.cluster import _STAGES

GO_MOD = """module k8s.io/kubernetes

go 1.25.0

require (
\tgithub.com/other/thing v1.0.0
)

replace (
\tk8s.io/api => ./staging/src/k8s.io/api
\tk8s.io/kube-scheduler => ./staging/src/k8s.io/kube-scheduler
)
"""


def test_libraries_come_from_their_published_versions() -> None:
    """Given Kubernetes' own go.mod, which points them at folders, the main module points them at the same release."""
    made = programs.main_module(GO_MOD, "1.35.4").splitlines()

    assert made[:3] == ["module kubernetes", "go 1.25.0", "require k8s.io/kubernetes v1.35.4"]
    assert made[3:] == [
        "replace k8s.io/api => k8s.io/api v0.35.4",
        "replace k8s.io/kube-scheduler => k8s.io/kube-scheduler v0.35.4",
    ]


@pytest.mark.parametrize("text", ["", "go 1.25.0\n", GO_MOD.replace("go 1.25.0", "")])
def test_a_go_mod_of_another_form_is_an_error(text: str) -> None:
    with pytest.raises(StackError, match="has changed its form"):
        programs.main_module(text, "1.35.4")


@pytest.mark.parametrize(
    ("text", "version"),
    [("go version go1.26.8 linux/amd64", (1, 26)), ("go version go1.19.8 linux/amd64", (1, 19)), ("nonsense", (0, 0))],
)
def test_the_version_of_go_is_read(text: str, version: tuple[int, int]) -> None:
    assert programs.go_version(text) == version


def test_pods_of_hooks_succeed_and_others_become_ready() -> None:
    stages = {one["metadata"]["name"]: one for one in yaml.safe_load_all(_STAGES.read_text(encoding="utf-8"))}

    def policies(name: str) -> list[str]:
        rules = stages[name]["spec"]["selector"]["matchExpressions"]
        return [value for rule in rules if rule["key"] == ".spec.restartPolicy" for value in rule["values"]]

    assert policies("pod-succeeds") == ["Never"]
    assert policies("pod-ready") == ["Always"]
    assert "phase: Succeeded" in stages["pod-succeeds"]["spec"]["next"]["statusTemplate"]
