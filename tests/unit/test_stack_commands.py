"""The stack's commands: parts side by side, answers for programs, exit codes."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet_stack import __main__ as commands
from fleet_stack import stack
from fleet_stack.console import StackError
from fleet_stack.description import describe
from fleet_stack.layout import Layout
from fleet_stack.parts import NAMES, Killable, Options, Part, PartStatus, part


@dataclass
class FakePart:
    """A part that writes down what it is told; nothing else of a server."""

    name: str
    calls: list[str]
    ready: bool = True
    fails: str | None = None
    meets: threading.Barrier | None = None
    options: Options | None = field(default=None)

    def _call(self, what: str) -> None:
        self.calls.append(f"{self.name}.{what}")
        if self.meets is not None and what == "start":
            self.meets.wait(10)
        if self.fails == what:
            raise StackError(f"{self.name} could not {what}")

    def install(self) -> None:
        self._call("install")

    def initialise(self) -> None:
        self._call("initialise")

    def start(self) -> None:
        self._call("start")

    def stop(self) -> None:
        self._call("stop")

    def status(self) -> PartStatus:
        return PartStatus(self.name, running=self.ready, ready=self.ready, detail="a detail")


@dataclass
class Fakes:
    """The parts that commands get instead of real ones."""

    calls: list[str] = field(default_factory=list)
    parts: dict[str, FakePart] = field(default_factory=dict)
    options: list[Options | None] = field(default_factory=list)

    def get(self, _: Layout, name: str, options: Options | None = None) -> Part:
        self.options.append(options)
        return self.parts[name]


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    monkeypatch.setenv("FLEET_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("FLEET_CACHE", str(tmp_path / "cache"))
    found = Fakes()
    found.parts = {name: FakePart(name, found.calls) for name in NAMES}
    monkeypatch.setattr(stack, "part", found.get)
    return found


def invoke(*words: str) -> Result:
    """Run a command as the shell would; a StackError is left in `exception`."""
    return CliRunner().invoke(commands.main, list(words))


class TestInstall:
    """Fetching what parts need."""

    def test_every_part_is_fetched_and_no_stack_is_made(self, fakes: Fakes, tmp_path: Path) -> None:
        assert invoke("install").exit_code == 0
        assert sorted(fakes.calls) == ["omero.install", "rabbitmq.install", "web.install"]
        assert list((tmp_path / "state").glob("*")) == []

    def test_only_the_wanted_parts_are_fetched(self, fakes: Fakes) -> None:
        assert invoke("install", "--only", "rabbitmq", "--rabbitmq", "3.10").exit_code == 0
        assert fakes.calls == ["rabbitmq.install"]
        assert fakes.options == [Options("3.10")]


class TestUp:
    """Bringing parts up."""

    def test_every_part_is_installed_initialised_and_started_in_this_order(self, fakes: Fakes) -> None:
        stack.up("demo")
        for name in NAMES:
            own = [call for call in fakes.calls if call.startswith(f"{name}.")]
            assert own == [f"{name}.install", f"{name}.initialise", f"{name}.start"]

    def test_omero_web_waits_for_omero(self, fakes: Fakes) -> None:
        stack.up("demo")
        assert fakes.calls.index("omero.start") < fakes.calls.index("web.install")

    def test_rabbitmq_and_omero_start_side_by_side(self, fakes: Fakes) -> None:
        """Given two parts that each wait for the other to start, when both are brought up, then both come up."""
        meeting = threading.Barrier(2)
        fakes.parts["rabbitmq"].meets = fakes.parts["omero"].meets = meeting
        stack.up("demo")
        assert not meeting.broken

    def test_only_the_wanted_parts_are_touched(self, fakes: Fakes) -> None:
        description = stack.up("demo", ["rabbitmq"])
        assert description.parts == ("rabbitmq",)
        assert {call.partition(".")[0] for call in fakes.calls} == {"rabbitmq"}

    @pytest.mark.usefixtures("fakes")
    def test_parts_brought_up_earlier_stay_part_of_the_stack(self) -> None:
        stack.up("demo", ["rabbitmq"])
        assert stack.up("demo", ["omero"]).parts == ("rabbitmq", "omero")

    def test_one_failing_part_does_not_stop_the_other(self, fakes: Fakes) -> None:
        fakes.parts["rabbitmq"].fails = "start"
        with pytest.raises(StackError, match="rabbitmq could not start"):
            stack.up("demo")
        assert "web.start" in fakes.calls

    def test_all_that_went_wrong_is_said(self, fakes: Fakes) -> None:
        fakes.parts["rabbitmq"].fails = "start"
        fakes.parts["omero"].fails = "install"
        with pytest.raises(StackError, match=r"rabbitmq could not start\nomero could not install"):
            stack.up("demo")
        assert "web.install" not in fakes.calls

    @pytest.mark.usefixtures("fakes")
    def test_the_description_is_written_and_holds_paths_of_secrets_only(self) -> None:
        stack.up("demo", ["rabbitmq"])
        layout = Layout.for_name("demo")
        record = json.loads(layout.record.read_text())
        assert record["broker"]["users"]["worker"] == str(layout.secrets / "broker-worker")
        assert record["omero"]["users"]["importer"] == str(layout.secrets / "omero-importer")
        assert record["base_port"] == layout.base_port
        assert json.loads(describe(layout).as_json()) == record

    def test_options_reach_the_parts(self, fakes: Fakes) -> None:
        result = invoke("up", "--rabbitmq", "3.10", "--set", "omero.a=1=2", "--set", "omero.b=")
        assert result.exit_code == 0, result.output
        assert fakes.options[0] == Options("3.10", {"omero.a": "1=2", "omero.b": ""}, optimise_java=True)

    @pytest.mark.usefixtures("fakes")
    def test_the_answer_for_programs_is_json_and_nothing_else(self) -> None:
        result = invoke("up", "--only", "rabbitmq", "--json")
        answer = json.loads(result.stdout)
        assert answer["broker"]["vhost"] == "fleet"
        assert answer["broker"]["lanes"] == ["demo", "hcs", "confocal"]

    @pytest.mark.usefixtures("fakes")
    def test_the_answer_for_people_names_ports_and_folder(self) -> None:
        result = invoke("up", "--only", "rabbitmq")
        layout = Layout.for_name("demo")
        assert f"127.0.0.1:{layout.ports.amqp}" in result.stdout
        assert str(layout.state) in result.stdout
        assert "OMERO" not in result.stdout


class TestDownAndStatus:
    """Taking down, asking, removing."""

    def test_parts_stop_in_reverse(self, fakes: Fakes) -> None:
        stack.up("demo")
        fakes.calls.clear()
        assert stack.down("demo") == NAMES
        assert sorted(fakes.calls) == ["omero.stop", "rabbitmq.stop", "web.stop"]
        assert fakes.calls.index("web.stop") < fakes.calls.index("omero.stop")

    def test_only_what_was_ever_up_is_stopped(self, fakes: Fakes) -> None:
        stack.up("demo", ["omero"])
        assert stack.down("demo") == ("omero",)
        assert "rabbitmq.stop" not in fakes.calls

    def test_a_stack_that_is_not_there_is_left_alone(self, fakes: Fakes, tmp_path: Path) -> None:
        assert invoke("down").exit_code == 0
        assert invoke("wipe").exit_code == 0
        assert fakes.calls == []
        assert not (tmp_path / "state").exists()

    @pytest.mark.usefixtures("fakes")
    def test_status_is_0_when_all_is_ready(self) -> None:
        stack.up("demo")
        result = invoke("status", "--json")
        assert result.exit_code == 0
        answer = json.loads(result.stdout)
        assert answer["ready"] is True
        assert [one["name"] for one in answer["parts"]] == list(NAMES)

    def test_status_is_3_when_one_is_not(self, fakes: Fakes) -> None:
        stack.up("demo")
        fakes.parts["web"].ready = False
        result = invoke("status")
        assert result.exit_code == 3
        assert "web       NOT READY a detail" in result.stdout
        assert json.loads(invoke("status", "--json").stdout)["ready"] is False

    @pytest.mark.usefixtures("fakes")
    def test_status_is_3_when_there_is_no_stack(self) -> None:
        result = invoke("status", "--name", "other")
        assert result.exit_code == 3
        assert "up --name other" in result.stdout

    def test_a_wipe_stops_and_removes_the_stack_and_leaves_the_cache(self, fakes: Fakes, tmp_path: Path) -> None:
        (tmp_path / "cache").mkdir()
        stack.up("demo")
        stack.up("other")
        assert invoke("wipe").exit_code == 0
        assert "rabbitmq.stop" in fakes.calls
        assert not (tmp_path / "state/demo").exists()
        assert (tmp_path / "state/other").exists()
        assert (tmp_path / "cache").exists()

    def test_a_purge_wipes_every_stack_and_the_cache(self, fakes: Fakes, tmp_path: Path) -> None:
        """Given two stacks, when all is purged, then no folder is left; and again it is content."""
        (tmp_path / "cache").mkdir()
        stack.up("demo", ["rabbitmq"])
        stack.up("other", ["omero"])
        assert json.loads(invoke("purge", "--json").stdout) == {"wiped": ["demo", "other"]}
        assert {"rabbitmq.stop", "omero.stop"} <= set(fakes.calls)
        assert list(tmp_path.iterdir()) == []
        assert "nothing is left" in invoke("purge").output

    def test_a_part_that_does_not_stop_is_not_wiped(self, fakes: Fakes, tmp_path: Path) -> None:
        """Given a server that cannot be ended, when the stack is wiped, then its files are not pulled away."""
        stack.up("demo")
        fakes.parts["omero"].fails = "stop"
        with pytest.raises(StackError, match="omero could not stop"):
            stack.wipe("demo")
        assert (tmp_path / "state/demo").exists()

    @pytest.mark.usefixtures("fakes")
    def test_paths(self, tmp_path: Path) -> None:
        assert invoke("path").stdout == f"{tmp_path}/state/demo\n"
        assert invoke("path", "secrets", "--name", "x").stdout == f"{tmp_path}/state/x/secrets\n"
        assert json.loads(invoke("path", "cache", "--json").stdout)["cache"] == f"{tmp_path}/cache"

    @pytest.mark.usefixtures("fakes")
    def test_the_name_may_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("FLEET_STACK", "mine")
        assert invoke("path").stdout == f"{tmp_path}/state/mine\n"


@pytest.mark.parametrize("words", ["rabit", "rabbitmq,mysql", "", ","])
def test_unknown_parts_are_refused(words: str) -> None:
    with pytest.raises(StackError, match="choose from rabbitmq, omero, web"):
        commands.parse_only(words)


def test_parts_may_be_written_with_blanks() -> None:
    assert commands.parse_only(" web, rabbitmq ") == ("web", "rabbitmq")


@pytest.mark.parametrize("pair", ["omero.x", "x=1", "=1", "Omero.x=1"])
def test_settings_of_another_form_are_refused(pair: str) -> None:
    with pytest.raises(StackError, match=r"the form is omero\.NAME=VALUE"):
        commands.parse_settings(("omero.ok=1", pair))


def test_an_error_is_one_sentence_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["fleet_stack", "path", "--name", "NOT A NAME"])
    with pytest.raises(SystemExit) as caught:
        commands.run()
    assert caught.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("fleet_stack: 'NOT A NAME' is no name of a stack")


def test_help_has_examples() -> None:
    text = invoke("--help").output
    assert "python -m fleet_stack up --name trial --only rabbitmq --rabbitmq 3.10" in text
    assert "3 status: not ready" in text


# zeroc-ice's generated modules have such escapes; Python says so the first time it compiles them.
@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("name", NAMES)
def test_every_part_keeps_the_promises_of_a_part(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_STATE", str(tmp_path))
    made = part(Layout.for_name("demo"), name)
    assert isinstance(made, Part)
    assert made.name == name
    assert isinstance(made, Killable) or name == "web"


def test_a_part_that_does_not_exist_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_STATE", str(tmp_path))
    with pytest.raises(StackError, match="no part 'mysql'"):
        part(Layout.for_name("demo"), "mysql")
