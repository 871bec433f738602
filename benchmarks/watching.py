r"""What a watch costs: 900,000 files in one plate beside ``find``, and 500 published plates at rest.

``python benchmarks/watching.py``; ``--files`` and ``--plates`` for other sizes. The plate is a time-lapse of 384 wells
x 9 sites x 5 waves. Measured are one listing of it, which is all that a look does while nothing has changed, and one
whole look, which also asks for the format, reads the index, and finds each listed file with its size. Each is done in a
process of its own, in turn with ``find -printf '%p %s %T@\n'`` on the same tree: the answer is the median of the
ratios, and the most memory that the process had, less what it had before. The plates at rest are watched for half a
minute with the default settings: the answer is the time of a round and the share of one core. Printed and written to
``build/watching.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar, cast

from fleet_common import logs
from fleet_common.broker import Names, Outgoing, Publisher
from fleet_common.events import Event
from fleet_common.settings import BrokerSettings, LogSettings, ProducerSettings, Settings
from fleet_common.storage import Share
from fleet_common.watching import TEMPORARY_NAMES, PlateRule, WatchedFolder, WatchSettings
from fleet_producer.completeness import State
from fleet_producer.spool import Spool
from fleet_producer.watch.assembling import World, assemble
from fleet_producer.watch.finding import Candidate
from fleet_producer.watch.looking import Glass, Observer
from fleet_producer.watch.store import Store
from fleet_producer.watch.tree import list_plate, pattern_of
from fleet_producer.watch.watcher import Watcher
from fleet_stack.plates import PlateSpec, make_plate
from fleet_stack.plates.imagexpress import Options, htd
from fleet_stack.processes import most_memory_bytes

FILES = 900_000
PLATES = 500
WELLS, SITES, WAVES = 384, 9, 5
PER_TIME_POINT = WELLS * SITES * WAVES
COLUMNS = 24
ROUNDS = 2
REST_SECONDS = 30.0
RESULT = Path(__file__).parents[1] / "build" / "watching.json"
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Look:
    """One way to look at a plate of many files.

    Attributes:
        files: How many both counted.
        look_seconds: Median of ours.
        find_seconds: Median of ``find``.
        ratio: Median of ours by theirs, round by round.
        memory_bytes: What it needed at most, on top of the process.
    """

    files: int
    look_seconds: float
    find_seconds: float
    ratio: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Rest:
    """Published plates that are watched.

    Attributes:
        plates: How many.
        files: In all of them.
        first_seconds: From the start until all were published, with a settle time of 1 s.
        round_seconds: Median of a round over all of them at rest.
        cpu_share: CPU time by time, of one core, with the default settings.
        memory_bytes: The most that the process had, in all.
    """

    plates: int
    files: int
    first_seconds: float
    round_seconds: float
    cpu_share: float
    memory_bytes: int


def make_tree(root: Path, files: int) -> Path:
    """Make a plate of so many sparse files at least, with an index that lists them; its folder."""
    spec = PlateSpec(name="P1", wells=WELLS, fields=SITES, channels=WAVES, timepoints=-(-files // PER_TIME_POINT))
    plate = root / spec.name
    for time_point in range(spec.timepoints):
        folder = plate / f"TimePoint_{time_point + 1}"
        folder.mkdir(parents=True)
        for place in range(PER_TIME_POINT):
            with (folder / _name(place)).open("wb") as file:
                file.truncate(place % 5000 + 1)
    (plate / "P1.HTD").write_text(htd(spec, Options(folders=True), "benchmark"))
    return plate


def _name(place: int) -> str:
    """The name of a plane of one time point."""
    well, image = divmod(place, SITES * WAVES)
    site, wave = divmod(image, WAVES)
    row, column = divmod(well, COLUMNS)
    return f"P1_{chr(ord('A') + row)}{column + 1:02d}_s{site + 1}_w{wave + 1}.TIF"


def compare(plate: Path, how: str, rounds: int = ROUNDS) -> Look:
    """Measure both in turn; the first round, in which the file system warms up, does not count."""
    pairs: list[tuple[float, float]] = []
    memories, counts = [], set()
    for _ in range(rounds + 1):
        seconds, memory, count = _looked(plate, how)
        found, theirs = _timed(lambda: _find(plate))
        pairs.append((seconds, theirs))
        memories.append(memory)
        counts |= {count, found}
    if len(counts) != 1:
        raise SystemExit(f"the two did not count the same number of files: {sorted(counts)}")
    ours, find = zip(*pairs[1:], strict=True)
    ratio = statistics.median(mine / theirs for mine, theirs in pairs[1:])
    return Look(counts.pop(), statistics.median(ours), statistics.median(find), ratio, max(memories))


def _looked(plate: Path, how: str) -> tuple[float, int, int]:
    command = [sys.executable, __file__, f"--{how}", str(plate)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return told["seconds"], told["memory_bytes"], told["files"]


def look_once(plate: Path, look: Callable[[Share, PurePosixPath], int]) -> None:
    """The measured process: one look, told as JSON."""
    before = most_memory_bytes()
    share = Share("benchmark", plate.parent)
    files, seconds = _timed(lambda: look(share, PurePosixPath(plate.name)))
    sys.stdout.write(json.dumps({"seconds": seconds, "memory_bytes": most_memory_bytes() - before, "files": files}))


def list_only(share: Share, folder: PurePosixPath) -> int:
    """What a look does while nothing has changed."""
    return list_plate(share, folder, pattern_of(TEMPORARY_NAMES)).files


def look_whole(share: Share, folder: PurePosixPath) -> int:
    """What it does when something has; how many files the index lists, which must all be there."""
    look = Observer(Glass(share, pattern_of(TEMPORARY_NAMES))).look(Candidate(share.name, folder)).look
    if look.unreadable or look.lacking:
        raise SystemExit(f"the plate is not what was made: {look.unreadable or look.absent[:3]}")
    return look.listed


def _find(root: Path) -> int:
    command = ["find", str(root), "-type", "f", "-printf", "%p %s %T@\n"]
    return subprocess.run(command, capture_output=True, check=True).stdout.count(b"\n")


def _timed(work: Callable[[], Answer]) -> tuple[Answer, float]:
    began = time.perf_counter()
    answer = work()
    return answer, time.perf_counter() - began


class Nobody:
    """A broker that is away all the time."""

    names = Names()
    connected = False

    def publish(self, message: Outgoing, *, deadline_seconds: float) -> None:
        """Never called."""

    def publish_event(self, event: Event, *, required: bool, deadline_seconds: float) -> None:
        """Never called."""


def rest(root: Path, plates: int) -> Rest:
    """Make plates, and have them published and watched at rest by a process of its own."""
    for number in range(plates):
        make_plate(root / "hcs/phenix1", PlateSpec(name=f"P{number:04}", wells=4, channels=2, size=8, seed=number))
    files = sum(1 for path in (root / "hcs").rglob("*") if path.is_file())
    command = [sys.executable, __file__, "--rest", str(root), "--plates", str(plates)]
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
    return Rest(plates=plates, files=files, **told)


def rest_once(root: Path, plates: int) -> None:
    """The measured process: publish all plates, and watch them at rest, told as JSON."""
    busy = _settings(root, poll_seconds=0.2, busy_percent=100)
    with Store(root / "watch") as store:
        _, first = _timed(lambda: _until_published(_watcher(busy, root, store), plates))
        again = _watcher(busy, root, store)
        rounds = [_timed(lambda: _due_now(again))[1] for _ in range(11)]
        share = _cpu_share(_watcher(_settings(root), root, store))
    told = {
        "first_seconds": first,
        "round_seconds": statistics.median(rounds[1:]),
        "cpu_share": share,
        "memory_bytes": most_memory_bytes(),
    }
    sys.stdout.write(json.dumps(told))


def _settings(root: Path, **how: float) -> Settings:
    rule = PlateRule(user="alice", group="screening", target="Screen:+name:All")
    folder = WatchedFolder(path=root / "hcs/phenix1", settle_seconds=1.0)
    return Settings(
        broker=BrokerSettings(user="phenix1"),
        producer=ProducerSettings(spool=root / "spool"),
        shares={"hcs": root / "hcs"},
        watch=WatchSettings(folders=(folder,), rules=(rule,), **how),
    )


def _watcher(settings: Settings, root: Path, store: Store) -> Watcher:
    spool = Spool(root / "spool", 1_000_000_000)
    return assemble(settings, spool, store, cast("Publisher", Nobody()), World())


def _until_published(watcher: Watcher, plates: int) -> None:
    while sum(record.state is State.PUBLISHED for record in watcher.records) < plates:
        watcher.tick()
        time.sleep(0.1)


def _due_now(watcher: Watcher) -> None:
    """A round in which every plate is looked at, as once an hour."""
    for folder in watcher._folders:  # noqa: SLF001  time is not what is measured
        folder.due_at = 0.0
        for place in folder._places.values():  # noqa: SLF001  as above
            place.due_at = 0.0
    watcher.tick()


def _cpu_share(watcher: Watcher) -> float:
    before, began = time.process_time(), time.perf_counter()
    timer = threading.Timer(REST_SECONDS, watcher.stop)
    timer.start()
    watcher.run()
    timer.join()
    return (time.process_time() - before) / (time.perf_counter() - began)


def report(listing: Look, whole: Look, at_rest: Rest) -> str:
    """Write all to ``build/watching.json`` and return them as sentences."""
    RESULT.parent.mkdir(exist_ok=True)
    told = {"listing": asdict(listing), "look": asdict(whole), "rest": asdict(at_rest)}
    RESULT.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return (
        f"{_sentence(listing, 'listed')}\n{_sentence(whole, 'looked at, index and all,')}\n"
        f"{at_rest.plates} published plates with {at_rest.files} files: a round takes "
        f"{at_rest.round_seconds * 1e3:.0f} ms, {at_rest.cpu_share:.2%} of one core; "
        f"{at_rest.memory_bytes / 1e6:.0f} MB in all"
    )


def _sentence(look: Look, what: str) -> str:
    return (
        f"{look.files} files in one plate: {what} in {look.look_seconds:.2f} s, find takes "
        f"{look.find_seconds:.2f} s, ratio {look.ratio:.2f}; {look.memory_bytes / 1e6:.1f} MB more memory"
    )


def main() -> None:
    """Measure, or be what is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--plates", type=int, default=PLATES)
    parser.add_argument("--list", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--look", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rest", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    logs.configure(LogSettings(level="error"))
    if given.list:
        look_once(given.list, list_only)
    elif given.look:
        look_once(given.look, look_whole)
    elif given.rest:
        rest_once(given.rest, given.plates)
    else:
        measure(given.files, given.plates)


def measure(files: int, plates: int) -> None:
    """Make both, one after the other, measure, print."""
    with tempfile.TemporaryDirectory(prefix="watching-") as folder:
        root = Path(folder)
        plate = make_tree(root / "tree", files)
        listing, whole = compare(plate, "list"), compare(plate, "look", rounds=1)
        shutil.rmtree(root / "tree")
        sys.stdout.write(report(listing, whole, rest(root, plates)) + "\n")


if __name__ == "__main__":
    main()
