"""A whole soak in order: set up, submit and break, heal, drain, look, judge, report.

Threading: the calling thread leads; producers, crew, breaker and chronicle have threads of their own, and all of them
end before :func:`run` does, whatever happens.
"""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Final

from fleet_stack import stack
from fleet_stack.omero.packages import OMERO_VERSION
from fleet_stack.readback import logged_in
from soak import report
from soak.byhand import Swept, statuses, sweep
from soak.chronicle import Chronicle
from soak.crew import Crew
from soak.facts import Evidence, Expected
from soak.faults import Breaker, Victims
from soak.judging import Flaw, Judgement, judge
from soak.ledger import Ledger
from soak.material import Instruments
from soak.omeroeyes import OmeroEyes
from soak.options import Options
from soak.producers import Post, Producer
from soak.report import Report
from soak.schedule import PRODUCERS
from soak.stage import STACK, Diary, Stage, set_up

_LOOK_SECONDS: Final = 2.0
_PROGRESS_SECONDS: Final = 10.0
_SESSION_LOOK_SECONDS: Final = 30.0
_SESSION_SECONDS: Final = 730.0
"""Idle time-out of the fleet's sessions, two minutes, and a little."""


def run(options: Options) -> Report:
    """Soak, and report. What a good one leaves behind is its report; a bad one's servers and logs stay.

    Raises:
        StackError: A server does not come up; stack and logs stay.
    """
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    diary = Diary(options.folder / "soak.log")
    try:
        found = _run(options, diary)
    except KeyboardInterrupt:
        stack.wipe(STACK)
        raise
    finally:
        diary.close()
    if found.good:
        stack.wipe(STACK)
    return found


def _run(options: Options, diary: Diary) -> Report:
    started = datetime.now(UTC)
    stage = set_up(options.broker, options.folder.resolve())
    with ExitStack() as ends:
        run = Run(options, diary, stage, ends)
        run.work()
        drain_seconds = run.drain()
        run.dismiss()
        expected, evidence, swept = run.look()
        judgement = judge(expected, evidence)
        run.explain(judgement)
        return run.summary(judgement, evidence, started, drain_seconds, swept)


class Run:
    """One soak between its set-up and its report; what it starts ends with ``ends``."""

    def __init__(self, options: Options, diary: Diary, stage: Stage, ends: ExitStack) -> None:
        self._options = options
        self._diary = diary
        self._stage = stage
        wishes = options.wishes()
        instruments = Instruments(stage.fleet.shares, options.seed)
        post = Post(instruments, stage.eyes, options.seed, diary.note)
        chronicle = Chronicle(stage.eyes)
        ends.callback(chronicle.close)
        self._crew = Crew(stage.layout, stage.fleet)
        ends.callback(self._crew.close)
        self._producers = [Producer(index, stage.fleet, post) for index in range(PRODUCERS)]
        for producer in self._producers:
            ends.callback(producer.close)
        self._ledger = Ledger(wishes, instruments, self._producers, chronicle)
        proxies = [producer.proxy for producer in self._producers]
        victims = Victims(self._crew, proxies, stage.rabbitmq, stage.omero, stage.eyes)
        self._breaker = Breaker(victims, diary.note)
        ends.callback(self._breaker.end)

    def work(self) -> None:
        """Submit and break, until the time is over."""
        schedule = self._options.schedule()
        for fault in schedule:
            self._diary.note(f"planned {fault}")
        began = time.monotonic()
        for producer in self._producers:
            producer.start(self._ledger.wishes, began)
        breaks = threading.Thread(
            target=self._breaker.run, args=(schedule, began, self._options.seconds), name="breaker"
        )
        breaks.start()
        while breaks.is_alive():
            breaks.join(_PROGRESS_SECONDS)
            self._diary.say(self._progress())

    def drain(self) -> float:
        """Heal, and wait until nothing is open; the seconds that it took."""
        self._diary.say("the faults are over; healing")
        self._breaker.heal()
        began = time.monotonic()
        deadline = began + self._options.drain_minutes * 60
        while self._ledger.open() and time.monotonic() < deadline:
            self._diary.say(self._progress())
            self._wait(deadline)
        return round(time.monotonic() - began, 1)

    def _wait(self, deadline: float) -> None:
        """Until nothing is open, but not longer than to the next line of progress."""
        until = min(deadline, time.monotonic() + _PROGRESS_SECONDS)
        while self._ledger.open() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)

    def dismiss(self) -> None:
        """Give up what is not sent, and end the workers."""
        self._diary.say(f"{self._progress()}; ending the workers")
        for producer in self._producers:
            producer.close()
        self._crew.close()

    def look(self) -> tuple[list[Expected], Evidence, Swept]:
        """Wait for what dies slowly, sweep, and see what there is."""
        with logged_in(self._stage.fleet.stack.omero, "root") as root:
            eyes = OmeroEyes(root, self._stage.repository)
            # What an open session made is no debris yet: its worker might still be alive.
            self._await_sessions(eyes)
            swept = sweep(self._stage.fleet)
            self._diary.say(f"swept: {swept}; looking at what there is")
            evidence = Evidence(
                held=eyes.filesets(),
                dead=self._stage.eyes.dead_letters(),
                outcomes=self._ledger.outcomes(),
                statuses=statuses(self._stage.fleet),
                queues=self._stage.eyes.queues(),
                folders=eyes.folders(),
                forgotten_folders=eyes.forgotten_folders(),
                sessions=eyes.sessions(),
                now=time.time(),
            )
        return self._ledger.expected(), evidence, swept

    def explain(self, judgement: Judgement) -> None:
        """Tell what is wrong, with everything that is known of each request."""
        for failure in self._failures():
            self._diary.say(f"not sent: {failure}")
        for mishap in self._crew.mishaps:
            self._diary.say(f"mishap: {mishap}")
        for finding in judgement.findings:
            self._diary.say(f"{finding.flaw}: {finding.text}  {finding.request_id}")
            for event in self._ledger.told_of(finding.request_id):
                self._diary.say(f"    {event}")

    def summary(
        self, judgement: Judgement, evidence: Evidence, started: datetime, drain_seconds: float, swept: Swept
    ) -> Report:
        """Put it all together."""
        counts, sent = judgement.counts, self._ledger.sent
        carried = [one for one in self._breaker.carried if not one.problem]
        cores, memory = report.machine()
        return Report(
            good=judgement.good and not self._failures(),
            command=self._options.command,
            seed=self._options.seed,
            rabbitmq=self._stage.eyes.version(),
            omero=OMERO_VERSION,
            started_at=f"{started:%Y-%m-%d %H:%M} UTC",
            minutes=self._options.minutes,
            drain_seconds=drain_seconds,
            requests=report.count_requests(sent),
            duplicated=sum(one.wish.same_as is not None for one in sent),
            faults=report.count_kinds(str(one.fault.kind) for one in carried),
            redeliveries=self._ledger.redeliveries(),
            duplicates=counts[Flaw.DUPLICATE],
            lost=counts[Flaw.LOST],
            wrong=counts[Flaw.WRONG] + len(self._failures()),
            debris=counts[Flaw.DEBRIS],
            swept=swept,
            repeated_dead_letters=report.repeated([letter.request_id for letter in evidence.dead]),
            mishaps=len(self._crew.mishaps),
            recovery_seconds=self._ledger.recoveries((str(one.fault.kind), one.ended_at) for one in carried),
            cores=cores,
            memory_gigabytes=memory,
        )

    def _failures(self) -> list[str]:
        unsent = self._ledger.unsent
        missing = [f"{unsent} wishes were never confirmed by the broker"] if unsent else []
        return [*self._ledger.failures, *missing]

    def _progress(self) -> str:
        faults, ready = len(self._breaker.carried), self._crew.ready()
        return f"{self._ledger.progress()}; {faults} faults, {ready} workers ready"

    def _await_sessions(self, eyes: OmeroEyes) -> None:
        """Give those that a killed worker left open the time that they may take to end."""
        deadline = time.monotonic() + _SESSION_SECONDS
        while (waiting := eyes.sessions()) and time.monotonic() < deadline:
            self._diary.say(f"{len(waiting)} sessions of killed workers are still to end by themselves")
            time.sleep(_SESSION_LOOK_SECONDS)
