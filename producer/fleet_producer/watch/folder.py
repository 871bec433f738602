"""One watched folder: finds its plates, looks at those that are due, and has the complete ones kept.

Role: everything between ``finding``, ``looking``, the engine and ``keeping``; survives whatever the share does. A share
that is away is no news of its plates: nothing is forgotten, and the quiet before it counts no more. Neighbours:
``watcher`` calls :meth:`Folder.visit`. Threading: one thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

import structlog

from fleet_common.errors import Reason, RequestError
from fleet_common.storage import Share
from fleet_common.watching import WatchedFolder
from fleet_producer.completeness import Policy, State, decide
from fleet_producer.watch.finding import Candidate, Where, find, sentence_of
from fleet_producer.watch.keeping import rest_of
from fleet_producer.watch.looking import Glass, Observer
from fleet_producer.watch.pacing import away_seconds, pause_seconds
from fleet_producer.watch.parts import Parts
from fleet_producer.watch.places import Place
from fleet_producer.watch.records import AT_REST, NEEDS_A_PERSON, Record
from fleet_producer.watch.resting import Stopped
from fleet_producer.watch.tree import pattern_of
from fleet_producer.watch.views import View, advice_of

_FOUND: Final = "it was just found"
_GONE: Final = "it is not there any more"
_CHECK: Final = "Check that this host can read it: the mount and its rights."
_LOG = structlog.get_logger()


class Folder:
    """A watched folder.

    Args:
        share: In which it lies.
        top: The folder relative to the share.
        settings: Its own.
        instrument: What writes there; empty for unknown.
        parts: What all folders share.

    Attributes:
        trouble: Why it cannot be listed; empty while it can.
        scanned_at: When it was last listed without trouble, on the monotonic clock; None for never.
    """

    def __init__(
        self, share: Share, top: PurePosixPath, settings: WatchedFolder, instrument: str, parts: Parts
    ) -> None:
        self._share, self._settings, self._instrument, self._parts = share, settings, instrument, parts
        files, ignored = pattern_of(settings.files), pattern_of(settings.ignored)
        self._where = Where(share, top, settings.depth, settings.plates, files, ignored)
        self._policy = Policy(settings.settle_seconds, settings.deadline_seconds)
        self._observer = Observer(
            Glass(
                share,
                pattern_of(settings.temporary),
                settings.sentinel,
                check_tiffs=settings.check_tiffs,
                same_sizes=settings.same_sizes,
                scan=settings.scan,
            ),
            pulse=parts.pulse,
        )
        self._places: dict[str, Place] = {}
        self._remembered: dict[str, Record] = {}
        self._gone: dict[str, Record] = {}
        self._failures = 0
        self.due_at = parts.monotonic()
        self.trouble = ""
        self._unseen: Mapping[str, str] = {}
        self.scanned_at: float | None = None
        self._heard = 0

    @property
    def name(self) -> str:
        """``share/path``."""
        return "/".join((self._share.name, *self._where.top.parts))

    @property
    def records(self) -> list[Record]:
        """What is known of its plates."""
        return [place.record for place in self._places.values()]

    @property
    def gone(self) -> list[Record]:
        """Plates that are not there any more, of which people still think that they need them."""
        return [replace(record, why=_GONE, next_action="") for record in self._gone.values()]

    def forget(self, key: str) -> None:
        """People know that a plate is gone."""
        del self._gone[key]
        self._parts.store.forget([key])

    @property
    def troubles(self) -> dict[str, str]:
        """What of it cannot be seen, as ``share/path``, and why."""
        return {self.name: self.trouble} if self.trouble else dict(self._unseen)

    @property
    def unsettled(self) -> bool:
        """Whether a plate is about to be complete, as far as can be seen."""
        seen = (record for record in self.records if self._is_seen(record.key))
        return not self.trouble and any(record.state is State.SETTLING for record in seen)

    def _is_seen(self, key: str) -> bool:
        return not any(key.startswith(f"{name}/") for name in self._unseen)

    def remember(self, records: Iterable[Record]) -> None:
        """Take over what an earlier process knew of the plates of this folder; not of one that is watched below it."""
        self._remembered = {one.key: one.restarted() for one in records if self._is_mine(one.key)}

    def _is_mine(self, key: str) -> bool:
        top = f"{self.name}/"
        return key.startswith(top) and key.removeprefix(top).count("/") < self._where.depth

    def mark(self, key: str, told: str) -> None:
        """Remember under which id people were told of a plate."""
        place = self._places[key]
        place.record = replace(place.record, told=told)
        self._keep(place)

    def visit(self) -> None:
        """List the folder if it is due, and look at every plate that is due.

        Raises:
            StateError: The state cannot be kept.
            Stopped: The watch is to end.
        """
        if self._parts.monotonic() < self.due_at:
            return
        try:
            with self._parts.breath.work():
                self._find()
        except (RequestError, OSError) as error:
            self._failed(error)
            return
        self._failures, self.trouble = 0, ""
        self._hear_of_submitted()
        for place in sorted(self._places.values(), key=lambda one: one.due_at):
            if self._is_seen(place.record.key) and place.due_at <= self._parts.monotonic():
                with self._parts.breath.work():
                    self._look(place)
                self._parts.pulse()
        self.scanned_at = self._parts.monotonic()
        self.due_at = self.scanned_at + self._parts.settings.poll_seconds

    def _hear_of_submitted(self) -> None:
        """Look at once at plates that lack files and that somebody has submitted all the same."""
        submitted = self._parts.keeper.submitted
        submitted.refresh()
        sources = list(submitted.since(self._heard))
        self._heard = submitted.count
        for place in self._places.values():
            if place.lacks_files and any(f"{source}/".startswith(f"{place.record.key}/") for source in sources):
                place.due_at, place.submitted = self._parts.monotonic(), True

    def _find(self) -> None:
        began = self._parts.monotonic()
        listed = find(self._where)
        found = {one.key: one for one in listed.candidates}
        self._pass_over(listed.unseen)
        known = self._remembered | self._gone
        for key in filter(self._is_seen, self._places.keys() - found.keys()):
            place = self._places.pop(key)
            self._observer.forget(place.candidate)
            known[key] = place.record.interrupted()
        for key, candidate in found.items():
            if key not in self._places:
                kept = known.pop(key, None)
                self._places[key] = Place(candidate, kept or Record(key, why=_FOUND), began, kept=kept)
        self._let_go(known)

    def _let_go(self, left: dict[str, Record]) -> None:
        """Forget plates that are not there, but not before people know of those of which they were told."""
        self._remembered = {key: one for key, one in left.items() if not self._is_seen(key)}
        there = {key: one for key, one in left.items() if key not in self._remembered}
        self._gone = {key: one for key, one in there.items() if one.told}
        forgotten = there.keys() - self._gone.keys()
        if forgotten:
            self._parts.store.forget(forgotten)

    def _look(self, place: Place) -> None:
        began = self._parts.monotonic()
        if self._is_stirring(place):
            self._look_at(place, began)
        settings, settle_seconds = self._parts.settings, self._policy.settle_seconds
        ended = self._parts.monotonic()
        resting = place.record.state in AT_REST and not place.stirring
        place.due_at = ended + (
            settings.rest_seconds if resting else pause_seconds(place.record, settle_seconds, settings)
        )

    def _is_stirring(self, place: Place) -> bool:
        """Whether there may be news: of one at rest only when its entry file is there and is another."""
        rest = place.record.rest
        if rest is not None:
            now = rest_of(self._share, rest.entry)
            place.stirring = now.size_bytes > 0 and now != rest
        return rest is None or place.stirring

    def _look_at(self, place: Place, began: float) -> None:
        view, check_due = self._decide(place, began, self._observer.look)
        if check_due:
            view, _ = self._decide(place, self._parts.monotonic(), self._observer.look_into)
        if place.record.state is State.COMPLETE:
            self._complete(place, view)
        elif not place.record.request_id and (place.submitted or place.record.state in NEEDS_A_PERSON):
            self._leave_to_person(place, view)
        elif place.record.request_id:
            # It was published: what happens to its files afterwards is no acquisition that somebody waits for.
            place.record = replace(place.record, state=State.PUBLISHED, next_action="")
        if place.record.state is State.IGNORED:
            place.stirring = False
        if place.record.state in AT_REST and not place.stirring:
            self._observer.forget(place.candidate)
        place.submitted = False
        self._keep(place)

    def _decide(self, place: Place, began: float, look: Callable[[Candidate], View]) -> tuple[View, bool]:
        try:
            view = look(place.candidate)
        except (RequestError, OSError) as error:
            view = View.of_nothing(sentence_of(error), advice_of(error) or _CHECK)
        except Stopped:
            raise
        except Exception as error:
            # The boundary of one plate: a format, perhaps a facility's own, must not end the watch of all others.
            self._parts.defect()
            _LOG.exception("a look at a plate failed", plate=place.candidate.key)
            view = View.of_nothing(f"{Reason.INTERNAL_ERROR}: {type(error).__name__}: {error}")
        elapsed = 0.0 if place.looked_at is None else began - place.looked_at
        history = view.after(place.record.history, elapsed)
        decision = decide(history, view.look, self._policy)
        place.looked_at = self._parts.monotonic()
        place.record = place.record.decided(decision, history)
        return view, decision.check_due

    def _complete(self, place: Place, view: View) -> None:
        keep = self._parts.keeper.keep
        try:
            view = self._observer.whole(place.candidate, view)
            place.record = keep(place.candidate, self._share, view, place.record, self._instrument)
        except (RequestError, OSError) as error:
            place.record = replace(place.record.interrupted(), why=sentence_of(error))
        if place.record.state is State.PUBLISHED:
            place.stirring = False
            _LOG.info("a plate is published", plate=place.record.key, why=place.record.why)

    def _leave_to_person(self, place: Place, view: View) -> None:
        keeper = self._parts.keeper
        with contextlib.suppress(RequestError, OSError):
            view = self._observer.whole(place.candidate, view)
            record = place.record = keeper.by_hand(self._share, view, place.record)
            if record.state in NEEDS_A_PERSON:
                place.record = keeper.ignored(place.candidate, self._share, view, record, self._instrument)

    def _pass_over(self, unseen: Mapping[str, str]) -> None:
        for name in unseen.keys() - self._unseen.keys():
            _LOG.warning("a folder in a watched folder cannot be seen", folder=name, error=unseen[name])
        self._unseen = unseen
        self._interrupt(place for key, place in self._places.items() if not self._is_seen(key))

    def _interrupt(self, places: Iterable[Place]) -> None:
        for place in places:
            place.record = place.record.interrupted()
            place.looked_at = None

    def _failed(self, error: Exception) -> None:
        if not self.trouble:
            _LOG.warning("a watched folder cannot be seen", folder=self.name, error=str(error))
        self._failures += 1
        self.trouble = sentence_of(error)
        self._interrupt(self._places.values())
        self.due_at = self._parts.monotonic() + away_seconds(self._failures, self._parts.settings)

    def _keep(self, place: Place) -> None:
        if place.record.is_news_after(place.kept):
            self._parts.store.save([place.record])
            place.kept = place.record
