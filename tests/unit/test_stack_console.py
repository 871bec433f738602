"""Steps are readable, also side by side, and a failing program is quoted."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path

import pytest

from fleet_stack.console import Progress, StackError, note, run, step

DURATION = re.compile(r"\d+\.\d s")


def lines(text: str) -> list[str]:
    return DURATION.sub("N s", text).splitlines()


def test_a_step_is_one_line_with_its_duration() -> None:
    stream = io.StringIO()
    with Progress(stream).step("start the broker"):
        assert stream.getvalue() == "  start the broker ...", "the step is shown while it runs"
    assert lines(stream.getvalue()) == ["  start the broker ... N s"]


def test_a_failed_step_says_so_and_lets_the_error_through() -> None:
    stream = io.StringIO()
    with pytest.raises(StackError, match="no disk"), Progress(stream).step("start"):
        raise StackError("no disk")
    assert lines(stream.getvalue()) == ["  start ... failed"]


def test_steps_side_by_side_do_not_mix() -> None:
    """Given two steps that overlap, when each ends, then its result stands on a line with its own name."""
    stream = io.StringIO()
    progress = Progress(stream)
    first, second = progress.step("first"), progress.step("second")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert lines(stream.getvalue()) == ["  first ...", "  second ...", "  first ... N s", "  second ... N s"]


def test_a_note_does_not_break_into_a_step() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    with progress.step("start"):
        progress.note("this takes a while")
    assert lines(stream.getvalue()) == ["  start ...", "  this takes a while", "  start ... N s"]


def test_progress_leaves_stdout_to_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with step("start"):
        note("by the way")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "start ..." in captured.err


def test_a_program_s_output_is_returned() -> None:
    assert run([sys.executable, "-c", "import sys; print('out'); sys.stdout.flush(); sys.stderr.write('err')"]) == (
        "out\nerr"
    )


def test_a_program_gets_exactly_the_environment_and_folder_given(tmp_path: Path) -> None:
    code = "import os; print(os.environ.get('WORD'), os.getcwd())"
    assert run([sys.executable, "-c", code], env={"WORD": "yes"}, cwd=tmp_path) == f"yes {os.path.realpath(tmp_path)}\n"


def test_a_failed_program_is_quoted_with_the_end_of_its_output() -> None:
    code = "print('x' * 10000); print('the reason'); raise SystemExit(7)"
    with pytest.raises(StackError, match=r"ended with 7") as caught:
        run([sys.executable, "-c", code])
    assert str(caught.value).endswith("the reason")
    assert len(str(caught.value)) < 5000


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(StackError, match="cannot run no-such-program"):
        run(["no-such-program"])


def test_a_program_that_hangs_is_ended() -> None:
    with pytest.raises(StackError, match="took longer than 0 s"):
        run([sys.executable, "-c", "import time; time.sleep(60)"], timeout_seconds=0.2)
