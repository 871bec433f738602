"""omero-fleet doctor: what it prints, what it ends with, and when it sweeps; the look itself is a stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from fleet_common import cli
from fleet_common.exits import Exit
from fleet_worker.commands import doctor as command
from fleet_worker.findings import Finding, fail, ok, warn
from fleet_worker.sweep import Fate, SweepReport, Swept

WELL = (ok("broker", "RabbitMQ 4.0.5"), warn("slots", "the pool is not told", "Ask for it."))
DEBRIS = SweepReport((Swept("Fileset:12", "alice", "screening", Fate.DELETED),), ())


@dataclass
class Look:
    """What the look at everything finds, and how it was swept.

    Attributes:
        findings: Of the look.
        unreachable: Whether a server did not answer.
        report: Of a sweep.
        swept: How each sweep was asked for.
    """

    findings: tuple[Finding, ...] = WELL
    unreachable: bool = False
    report: SweepReport = DEBRIS
    swept: list[dict[str, Any]] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def run(self) -> Iterator[Finding]:
        """One after the other."""
        yield from self.findings

    def sweep(self, parts: object, **how: Any) -> SweepReport:
        """In the place of the real one."""
        assert parts is self
        self.swept.append(how)
        return self.report


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Look:
    """A look that finds all well, until a test says otherwise."""
    made = Look()
    monkeypatch.setattr(command, "Checkup", lambda _: made)
    monkeypatch.setattr(command, "sweep", made.sweep)
    monkeypatch.delenv("OMERO_FLEET_CONFIG", raising=False)
    return made


@pytest.fixture
def run(look: Look, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command, as the shell runs it: exit code, output, errors."""
    assert look.findings

    def doctor(*arguments: str) -> tuple[int, str, str]:
        code = cli.run(["doctor", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return doctor


Run = Callable[..., tuple[int, str, str]]


def test_every_finding_is_a_line_with_its_advice_below(run: Run) -> None:
    """And the last line says whether a worker can run."""
    code, out, _ = run()
    assert code == Exit.OK
    assert out.splitlines() == [
        "ok    broker: RabbitMQ 4.0.5",
        "warn  slots: the pool is not told",
        "      Ask for it.",
        "0 failed, 1 warnings: a worker can run so",
    ]


def test_a_failure_is_told_by_the_exit_code(run: Run, look: Look) -> None:
    """Another one where a server cannot be reached: that may pass by itself."""
    look.findings = (fail("slots", "too many", "Set import_slots to 4."),)
    assert run()[0] == Exit.UNFIT
    look.unreachable = True
    assert run()[0] == Exit.UNREACHABLE


def test_nothing_is_swept_unless_it_is_asked_for(run: Run, look: Look) -> None:
    """A look changes nothing."""
    assert run()[0] == Exit.OK
    assert look.swept == []


@pytest.mark.parametrize(
    ("arguments", "how"),
    [
        ((), {"dry_run": False, "lost_after_seconds": 3600.0}),
        (("--dry-run",), {"dry_run": True, "lost_after_seconds": 3600.0}),
        (("--older-than", "5m"), {"dry_run": False, "lost_after_seconds": 300.0}),
    ],
)
def test_a_sweep_says_what_it_found(run: Run, look: Look, arguments: tuple[str, ...], how: dict[str, Any]) -> None:
    """Each piece with its owner, and then how many."""
    code, out, _ = run("--sweep", *arguments)
    assert (code, look.swept) == (Exit.OK, [how])
    assert "deleted  Fileset:12 of alice in screening\n" in out
    assert "swept: 1 filesets, 0 folders found\n" in out


def test_what_cannot_be_swept_is_told_by_the_exit_code(run: Run, look: Look) -> None:
    """With the reason beside it."""
    look.report = SweepReport((), (Swept("a/b/", "alice", "screening", Fate.FAILED, "omero-refused: no"),))
    code, out, _ = run("--sweep")
    assert code == Exit.UNFIT
    assert "failed  a/b/ of alice in screening  omero-refused: no" in out


def test_nothing_is_swept_where_something_is_wrong(run: Run, look: Look) -> None:
    """A worker that cannot run is not the one to delete anything."""
    look.findings = (fail("locks", "a new lock is held by another", "Report this."),)
    code, out, _ = run("--sweep")
    assert (code, look.swept) == (Exit.UNFIT, [])
    assert "not swept: mend what failed first" in out


@pytest.mark.parametrize("arguments", [("--dry-run",), ("--older-than", "5m"), ("--sweep", "--older-than", "soon")])
def test_how_to_sweep_without_a_sweep_is_refused(run: Run, look: Look, arguments: tuple[str, ...]) -> None:
    """And a time that is none."""
    code, _, err = run(*arguments)
    assert (code, look.swept) == (Exit.USAGE, [])
    assert "--sweep" in err or "90s" in err


def test_json_holds_findings_and_sweep(run: Run) -> None:
    """One object, for programs."""
    code, out, _ = run("--sweep", "--json")
    told = json.loads(out)
    assert code == Exit.OK
    assert told["findings"][1] == {"check": "slots", "verdict": "warn", "text": WELL[1].text, "advice": "Ask for it."}
    assert told["sweep"]["filesets"][0]["what"] == "Fileset:12"


def test_json_without_a_sweep_says_so(run: Run) -> None:
    """Nothing was swept, which is not the same as nothing found."""
    assert json.loads(run("--json")[1])["sweep"] is None
