"""The scan's child process: what becomes of one that hangs, dies, lies or is let go, and what it is kept from."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet_common.errors import LeaseLost, Reason, RequestError
from fleet_common.plates import Sizes
from fleet_worker.scan import Launch, Limits, Refusal, Refused, Scanned, Scanner, child
from fleet_worker.scan.answers import Nonsense, answer, question, ready
from fleet_worker.scan.launching import java_command
from support import fake_reader
from support.waiting import until

SHORT = Limits(start_seconds=30.0, answer_seconds=0.3)
LONG = Limits(start_seconds=30.0, answer_seconds=30.0)


def launch(*arguments: str, limits: Limits = LONG) -> Launch:
    """A child that is the fake reader."""
    return Launch((sys.executable, fake_reader.__file__, *arguments), limits)


@pytest.fixture
def make() -> Iterator[Callable[[Launch], Scanner]]:
    """Makes scanners, and closes them in the end."""
    made: list[Scanner] = []

    def scanner(how: Launch) -> Scanner:
        made.append(Scanner(how))
        return made[-1]

    yield scanner
    for one in made:
        one.close()


def go_on() -> None:
    """Nothing stops the attempt."""


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestAnswers:
    """What a line may say."""

    def test_a_file_with_its_group(self) -> None:
        """Reader, files, sizes, and whether it is a plate."""
        line = json.dumps(fake_reader.found(3, "/hcs/a.lif")).encode()
        assert answer(line, 3) == Scanned(
            "loci.formats.in.FakeReader", ("/hcs/a.lif",), (Sizes(8, 6, 1, 2, 1),), is_plate=False
        )

    def test_an_error_is_one_line_of_bounded_length(self) -> None:
        """It goes into logs and events."""
        said = answer(json.dumps({"id": 1, "error": "a\n\tb\x1b[31m" + "x" * 9999}).encode(), 1)
        assert isinstance(said, Refused)
        assert (said.why, said.text[:8], len(said.text)) == (Refusal.FAILED, "a b [31m", 503)

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"null",
            b"[]",
            b'{"id": 1}',
            b'{"id": "1", "unknown": true}',
            b'{"id": 2, "unknown": true}',
            json.dumps(fake_reader.found(1, "a", files=[])).encode(),
            json.dumps(fake_reader.found(1, "a", series=[])).encode(),
            json.dumps(fake_reader.found(1, "a", series=[{"x": 0, "y": 1, "z": 1, "c": 1, "t": 1}])).encode(),
            json.dumps(fake_reader.found(1, "a", reader="rm -rf /")).encode(),
            json.dumps(fake_reader.found(1, "a", more=1)).encode(),
            b"\xff\xfe",
        ],
    )
    def test_anything_else_is_nonsense(self, line: bytes) -> None:
        """Nothing is made of half an answer."""
        with pytest.raises(Nonsense):
            answer(line, 1)

    @pytest.mark.parametrize("line", [b"", b"{}", b'{"version": ""}', b'{"version": 6}', b"Exception in thread"])
    def test_a_first_line_without_a_version_is_nonsense(self, line: bytes) -> None:
        """Something else was started."""
        with pytest.raises(Nonsense):
            ready(line)

    def test_a_question_is_one_line_whatever_the_name(self) -> None:
        """A line break in a name must not make two questions."""
        assert question(1, 'a\n"b" ü').count(b"\n") == 1


class TestScanner:
    """A file costs only itself."""

    def test_many_questions_go_to_one_child(self, make: Callable[[Launch], Scanner]) -> None:
        """To start Java takes seconds."""
        scanner = make(launch())
        first = scanner.ask("/hcs/a.lif", go_on)
        process = scanner._child
        assert isinstance(first, Scanned)
        assert scanner.ask("/hcs/b.lif", go_on) == Scanned(first.reader, ("/hcs/b.lif",), first.sizes, is_plate=False)
        assert scanner._child is process
        assert scanner.version == "6.7.0"

    @pytest.mark.parametrize(
        ("name", "why", "text"),
        [
            ("die.tif", Refusal.DIED, "it ended with exit code 7"),
            ("garbage.tif", Refusal.DIED, "its line is no answer"),
            ("stranger.tif", Refusal.DIED, "it answers question 3 instead of 2"),
        ],
    )
    def test_a_file_that_kills_the_child_or_makes_it_lie_costs_only_itself(
        self, make: Callable[[Launch], Scanner], name: str, why: Refusal, text: str
    ) -> None:
        """Given such a file between two good ones, then both good ones are answered, the second by a new child."""
        scanner = make(launch())
        assert isinstance(scanner.ask("/hcs/good.lif", go_on), Scanned)
        before = scanner._child
        assert scanner.ask(f"/hcs/{name}", go_on) == Refused(why, text)
        assert before is not None
        assert not is_alive(before.pid)
        assert isinstance(scanner.ask("/hcs/good.lif", go_on), Scanned)

    def test_a_file_at_which_the_reader_hangs_costs_its_deadline(self, make: Callable[[Launch], Scanner]) -> None:
        """The child is killed, and a new one answers the next question."""
        scanner = make(launch(limits=SHORT))
        assert scanner.ask("/hcs/hang.tif", go_on) == Refused(Refusal.HUNG, "no answer within 0.3 s")
        assert scanner._child is None

    def test_a_line_without_end_is_given_up(
        self, make: Callable[[Launch], Scanner], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Memory is bounded, whatever the child says."""
        monkeypatch.setattr(child, "MAX_LINE_BYTES", 1000)
        monkeypatch.setattr(child, "_CHUNK_BYTES", 600)
        said = make(launch()).ask("/hcs/endless.tif", go_on)
        assert said == Refused(Refusal.DIED, "its line is longer than 1,000 bytes")

    def test_a_file_that_no_reader_takes_and_one_that_its_reader_fails_at(
        self, make: Callable[[Launch], Scanner]
    ) -> None:
        """Both are answers: the child lives on."""
        scanner = make(launch())
        assert scanner.ask("/hcs/unknown.txt", go_on) == Refused(Refusal.UNKNOWN)
        process = scanner._child
        assert scanner.ask("/hcs/broken.tif", go_on) == Refused(Refusal.FAILED, "java.io.IOException: bad header")
        assert scanner._child is process

    def test_what_the_child_started_dies_with_it(self, make: Callable[[Launch], Scanner]) -> None:
        """The whole process group is killed."""
        scanner = make(launch())
        said = scanner.ask("/hcs/orphan.tif", go_on)
        assert isinstance(said, Refused)
        assert is_alive(int(said.text))
        scanner.close()
        until(lambda: not is_alive(int(said.text)))

    @pytest.mark.parametrize("first", ["no version", ""])
    def test_a_child_that_does_not_start_is_no_fault_of_the_file(
        self, make: Callable[[Launch], Scanner], first: str
    ) -> None:
        """The error names the command, for whoever has to try it."""
        with pytest.raises(RequestError, match=r"cannot be asked: .*fake_reader") as caught:
            make(launch(first)).ask("/hcs/a.lif", go_on)
        assert caught.value.reason is Reason.INTERNAL_ERROR

    def test_a_program_that_is_not_there_is_no_fault_of_the_file_either(
        self, make: Callable[[Launch], Scanner]
    ) -> None:
        """Nothing is left of it."""
        with pytest.raises(RequestError, match="cannot be started"):
            make(Launch(("/nowhere/java",))).ask("/hcs/a.lif", go_on)

    def test_an_attempt_that_must_stop_ends_the_child(self, make: Callable[[Launch], Scanner]) -> None:
        """Its answer would be taken for that to the next question."""
        scanner = make(launch())
        scanner.ask("/hcs/a.lif", go_on)

        def stop() -> None:
            raise LeaseLost("gone")

        with pytest.raises(LeaseLost):
            scanner.ask("/hcs/hang.tif", stop)
        assert scanner._child is None
        assert isinstance(scanner.ask("/hcs/a.lif", go_on), Scanned)

    def test_who_waits_for_its_turn_is_asked_whether_to_go_on(self, make: Callable[[Launch], Scanner]) -> None:
        """A worker that drains need not wait for another's hanging file."""
        scanner = make(launch(limits=Limits(answer_seconds=30.0)))
        asked, let_go = threading.Event(), threading.Event()

        def until_let_go() -> None:
            asked.set()
            if let_go.is_set():
                raise LeaseLost("gone")

        def hang() -> None:
            with pytest.raises(LeaseLost):
                scanner.ask("/hcs/hang.tif", until_let_go)

        def stop() -> None:
            raise LeaseLost("gone")

        other = threading.Thread(target=hang)
        other.start()
        try:
            assert asked.wait(30)
            with pytest.raises(LeaseLost):
                scanner.ask("/hcs/a.lif", stop)
        finally:
            let_go.set()
            other.join(30)

    def test_closing_twice_is_no_error(self, make: Callable[[Launch], Scanner]) -> None:
        """Nor closing what was never asked."""
        scanner = make(launch())
        scanner.close()
        scanner.ask("/hcs/a.lif", go_on)
        scanner.close()
        scanner.close()


class TestIsolation:
    """What the child does not have."""

    @pytest.fixture
    def seen(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
        """What the child sees of its surroundings, with a secret and an open file in the worker."""
        monkeypatch.setenv("OMERO_FLEET_OMERO__PASSWORD", "secret")
        monkeypatch.setenv("HTTP_PROXY", "http://proxy")
        with Path(__file__).open() as kept:
            os.set_inheritable(kept.fileno(), True)  # noqa: FBT003  os knows no keyword for it
            started = child.Child.start(launch(), time.monotonic)
            try:
                started.hear(30, go_on)
                started.tell(question(1, "/hcs/surroundings.tif"))
                told: dict[str, object] = json.loads(json.loads(started.hear(30, go_on))["error"])
            finally:
                started.end()
        return told

    def test_it_knows_nothing_of_the_workers_environment(self, seen: dict[str, object]) -> None:
        """Neither secrets nor proxies."""
        assert isinstance(seen["env"], dict)
        assert set(seen["env"]) - {"LC_CTYPE"} == {"PATH", "LC_ALL", "HOME", "TMPDIR"}

    def test_it_has_no_descriptor_but_its_pipes(self, seen: dict[str, object]) -> None:
        """And the one that lists them."""
        assert isinstance(seen["fds"], list)
        assert set(seen["fds"]) <= {"0", "1", "2", "3"}

    def test_its_folder_is_its_own_and_goes_with_it(self, seen: dict[str, object]) -> None:
        """Native libraries of Bio-Formats stay behind otherwise."""
        assert isinstance(seen["env"], dict)
        assert seen["folder"] == seen["env"]["TMPDIR"] == seen["env"]["HOME"]
        assert not Path(str(seen["folder"])).exists()

    def test_java_has_a_bounded_heap_and_ends_where_it_is_full(self) -> None:
        """And keeps its temporary files where they are removed."""
        command = java_command("java", Path("/opt/bioformats_package.jar"), Limits(memory_mb=256))
        assert {"-Xmx256m", "-XX:+ExitOnOutOfMemoryError", "-Djava.io.tmpdir={folder}"} <= set(command)
        assert "-Djava.io.tmpdir=/scratch" in Launch(tuple(command)).arguments(Path("/scratch"))
        assert Path(command[-1]).is_file()
