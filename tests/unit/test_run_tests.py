"""The tool behind ``make test``: folders side by side, nothing that they say is lost, one failure fails the whole."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from support.scripts import module_of

ROOT: Final = Path(__file__).parents[2]
NOT_OF_MAKE_TEST: Final = frozenset({"kube", "soak", "support", "crds"})

run_tests = module_of(ROOT / "tools" / "run_tests.py")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def says(folder: str) -> Sequence[str]:
    """A folder that says two lines and passes."""
    return python(f"print('tests of {folder}'); print('==== 2 passed in 0.1s ====')")


def meets(mine: Path, other: Path) -> str:
    """Code that ends well only when another one runs at the same time."""
    return f"""
import pathlib, sys, time
pathlib.Path({str(mine)!r}).touch()
deadline = time.monotonic() + 60
while not pathlib.Path({str(other)!r}).exists():
    time.sleep(0.02)
    if time.monotonic() > deadline:
        sys.exit(1)
"""


def test_every_folder_of_tests_is_run_once() -> None:
    """Given a new folder of tests, then it is in a lane, or the guide says which command runs it."""
    folders = {file.parent.name for file in (ROOT / "tests").glob("*/test_*.py")} - NOT_OF_MAKE_TEST
    assert sorted(folder for lane in run_tests.LANES for folder in lane) == sorted(folders)


def test_lanes_run_side_by_side(tmp_path: Path) -> None:
    marks = {"a": tmp_path / "a", "b": tmp_path / "b"}
    others = {"a": "b", "b": "a"}
    ended = run_tests.run(
        [["a"], ["b"]], lambda folder: python(meets(marks[folder], marks[others[folder]])), tmp_path / "logs"
    )
    assert [(one.folder, one.code) for one in ended] == [("a", 0), ("b", 0)]


def test_folders_of_a_lane_run_one_after_the_other(tmp_path: Path) -> None:
    """Given two folders of one lane, then the second has not begun at the end of the first, and finds what it left."""
    code = {
        "first": "import pathlib; assert not pathlib.Path('second.txt').exists(); pathlib.Path('mark').touch()",
        "second": "import pathlib; assert pathlib.Path('mark').exists()",
    }
    ended = run_tests.run(
        [["first", "second"]],
        lambda folder: python(f"import os; os.chdir({str(tmp_path)!r}); {code[folder]}"),
        tmp_path,
    )
    assert [one.code for one in ended] == [0, 0]


def test_all_that_a_folder_says_is_shown_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line with its folder before it; without that, in a file of its own."""
    run_tests.run([["a", "b"], ["c"]], says, tmp_path / "logs")
    shown = capsys.readouterr().out.splitlines()
    for folder in "abc":
        assert [line for line in shown if line.startswith(folder)] == [
            f"{folder}       | tests of {folder}",
            f"{folder}       | ==== 2 passed in 0.1s ====",
        ]
        assert (tmp_path / "logs" / f"{folder}.txt").read_text() == (f"tests of {folder}\n==== 2 passed in 0.1s ====\n")


def test_what_a_program_writes_to_standard_error_is_shown_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_tests.run([["a"]], lambda _: python("import sys; sys.stderr.write('a complaint without an end')"), tmp_path)
    assert capsys.readouterr().out == "a       | a complaint without an end\n"


@pytest.mark.parametrize(
    ("endings", "expected"),
    [
        (("exit 0", "exit 0", "exit 0"), 0),
        (("exit 1", "exit 0", "exit 0"), 1),
        (("exit 0", "exit 0", "exit 1"), 1),
        (("exit 0", "exit 5", "exit 0"), 1),
        (("exit 0", "kill -9 $$", "exit 0"), 1),
    ],
    ids=["all pass", "the first fails", "the last fails", "one has no test", "one was killed"],
)
def test_the_failure_of_one_folder_fails_the_whole(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    endings: tuple[str, ...],
    expected: int,
) -> None:
    """And the others run to their end all the same."""
    code = dict(zip("abc", endings, strict=True))
    monkeypatch.setattr(run_tests, "LANES", (("a", "b"), ("c",)))
    monkeypatch.setattr(run_tests, "LOGS", tmp_path)
    monkeypatch.setattr(
        run_tests, "pytest_of", lambda folder, _: ["sh", "-c", f"echo '= 1 test in 0.1s ='; {code[folder]}"]
    )
    assert run_tests.main([]) == expected
    *summary, everything = capsys.readouterr().out.splitlines()[-4:]
    assert [line.split()[0] for line in summary] == ["a", "b", "c"]
    assert [("FAILED" in line) for line in summary] == [ending != "exit 0" for ending in endings]
    assert all(line.endswith("1 test in 0.1s") for line in summary)
    assert everything.split()[:2] == ["all", "FAILED" if expected else "passed"]


def test_an_interrupted_run_begins_no_other_folder(tmp_path: Path) -> None:
    stopping = threading.Event()

    def interrupted(folder: str) -> Sequence[str]:
        stopping.set()
        return says(folder)

    ended = run_tests._one_after_the_other(["a", "b"], interrupted, tmp_path, stopping)
    assert [one.folder for one in ended] == ["a"]


def test_only_the_unit_tests_give_way() -> None:
    """They need processors and no server waits for them."""
    assert run_tests.pytest_of("unit", ["-x"])[:3] == ["nice", "-n", "10"]
    for folder in ("broker", "omero", "e2e", "faults"):
        assert run_tests.pytest_of(folder, ["-x"])[0] == sys.executable
    assert run_tests.pytest_of("e2e", ["-x"])[-2:] == ["-x", "tests/e2e"]
