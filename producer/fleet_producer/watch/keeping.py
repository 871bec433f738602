"""From a complete plate to a request in the spool, once.

Role: rules, request and spool of one plate. The order of steps is what makes it once: the request is in the spool, on
the disk, before the state says that it was published; what dies in between finds the request in the spool again,
because its id follows from the plate. Neighbours: ``rules``, ``fleet_common.assembling``, ``spool``, ``store``.
Threading: one thread.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import pydantic

from fleet_common.assembling import Order, build, identity_of, sample_digest
from fleet_common.errors import Reason, RequestError
from fleet_common.messages import Batch, ImportRequest, Options, Owner, SubmittedBy, explain
from fleet_common.plates import Plate
from fleet_common.scanning import SCAN
from fleet_common.settings import Settings
from fleet_common.storage import ManifestEntry, Share, digest, entries_of, summarise
from fleet_producer.completeness import State
from fleet_producer.spool import Spool, SpoolError
from fleet_producer.watch.byhand import ByHand
from fleet_producer.watch.finding import Candidate
from fleet_producer.watch.records import Record, Rest
from fleet_producer.watch.rules import Facts, Parked, Route, ignoring, route
from fleet_producer.watch.store import Published, Store
from fleet_producer.watch.views import View

BATCH_NAMESPACE: Final = uuid.UUID("2f6d4c3e-0f39-5a0e-9a54-1d1f3c5f7b60")
"""The uuid5 namespace of batches: all that one instrument gives in a day is one."""
_AGAIN: Final = "If it shall be imported as it is now, submit it by hand with --again."
_CORRECT: Final = "Correct the rule in watch.rules, then restart the watch."
_ROOM: Final = "Free space, or settle, resend or drop what omero-fleet spool list shows."
_MAX_TEXT: Final = 255


@dataclass(frozen=True, slots=True)
class Keeper:
    """Keeps complete plates of this host.

    Attributes:
        settings: Rules, lane, host.
        spool: Where requests are kept.
        store: Where is remembered what was published.
        clock: The present time of this host, in UTC.
        exists: Whether a place ``share/path`` is still there.
        submitted: What people submit themselves.
    """

    settings: Settings
    spool: Spool
    store: Store
    clock: Callable[[], datetime]
    exists: Callable[[str], bool]
    submitted: ByHand

    def keep(self, candidate: Candidate, share: Share, view: View, record: Record, instrument: str) -> Record:
        """Put a complete plate into the spool; the record says what became of it.

        A plate for which that is not possible yet stays complete, with the reason and what to do.

        Raises:
            Transient: ``share-unavailable``.
            StateError: The state cannot be kept.
        """
        plate = _the_plate(view)
        try:
            watch = self.settings.watch
            chosen = route(facts_of(candidate, plate, instrument), watch.rules, watch.people)
            if chosen.ignore:
                return _ignored(record, chosen.rule, rest_of(share, plate.entry))
            return self._publish(candidate, share, view, record, self._order(chosen, plate, instrument))
        except pydantic.ValidationError as error:
            return _parked(record, f"its rule makes no request: {explain(error)}", _CORRECT)
        except Parked as error:
            return _parked(record, str(error), error.next_action)
        except SpoolError as error:
            return _parked(record, str(error), _ROOM)
        except RequestError as error:
            if error.reason is Reason.SHARE_UNAVAILABLE:
                raise
            return _parked(record, f"{error.reason}: {error}", error.rule.next_action)

    def ignored(self, candidate: Candidate, share: Share, view: View, record: Record, instrument: str) -> Record:
        """The record of a plate that needs a person, unless a rule says that it needs none."""
        if view.plate is not None:
            facts, unknown = facts_of(candidate, view.plate, instrument), frozenset[str]()
        else:
            facts = Facts(candidate.key, candidate.path.stem, instrument=instrument)
            unknown = frozenset({"barcode", "operator", *(() if instrument else ("instrument",))})
        rule = ignoring(facts, self.settings.watch.rules, unknown)
        entry = view.plate.entry if view.plate else str(candidate.path)
        return _ignored(record, rule, rest_of(share, entry)) if rule else record

    def by_hand(self, share: Share, view: View, record: Record) -> Record:
        """The record of a plate that lacks files, once a person has submitted it: with ``--partial``, say.

        Raises:
            Transient: ``share-unavailable``.
            StateError: The state cannot be kept.
        """
        if view.plate is None:
            return record
        request_id = self.submitted.heard(f"{share.name}/{view.plate.entry}") or self._decided(share, view.plate)
        if not request_id:
            return record
        done = replace(
            record,
            state=State.PUBLISHED,
            why=f"it was submitted by hand as {request_id}",
            next_action="",
            request_id=request_id,
            rest=rest_of(share, view.plate.entry),
        )
        self.store.publish(_of_a_person(request_id, record.key, view.plate), done, self.clock().isoformat())
        return done

    def _decided(self, share: Share, plate: Plate, *, partial: bool = False) -> str:
        """The id of the request of this host by which a person has taken this plate over; empty when nobody has.

        Args:
            share: Where it is.
            plate: As its index says.
            partial: Whether only a request of a plate that lacked files counts.
        """
        found = self.submitted.of(f"{share.name}/{plate.entry}")
        if found is None or found.facts is None or (partial and found.facts.missing is None):
            return ""
        return found.request_id if found.is_of(identity_of(share, plate), len(plate.files)) else ""

    def _publish(self, candidate: Candidate, share: Share, view: View, record: Record, order: Order) -> Record:
        plate = _the_plate(view)
        entries = entries_of(plate.files, view.sizes)
        content = content_of(candidate, share, plate, entries)
        earlier = self._earlier(content, record.key, plate)
        if earlier is not None:
            return self._known(share, plate, record, content, earlier)
        decided = self._decided(share, plate, partial=True)
        if decided:
            return self._known(share, plate, record, content, _of_a_person(decided, record.key, plate))
        request = build(share, plate, summarise(entries), order, self.clock()).request
        done = replace(
            record,
            state=State.PUBLISHED,
            why=f"published as {request.request_id} to the lane {request.lane}{_errors(plate)}",
            next_action="",
            request_id=str(request.request_id),
            rest=rest_of(share, plate.entry),
        )
        self._add(request)
        self.store.publish(
            Published(content, done.request_id, record.key, plate.identity), done, self.clock().isoformat()
        )
        return done

    def _add(self, request: ImportRequest) -> None:
        """Keep it unless it is there: then this process died after it had kept it, or a person submitted it."""
        if all(slip.request_id != request.request_id for slip in self.spool.slips()):
            self.spool.add([request])

    def _earlier(self, content: str, key: str, plate: Plate) -> Published | None:
        """What was published before and is the same plate, or was the plate in this place."""
        known = self.store.published(content)
        if known is not None and (known.key == key or plate.identity or not self.exists(known.key)):
            return known
        there = self.store.published_from(key)
        # Another measurement in the same folder is another plate; without an id nobody can tell, so a person decides.
        return None if there is not None and plate.identity != there.identity else there

    def _known(self, share: Share, plate: Plate, record: Record, content: str, earlier: Published) -> Record:
        same = earlier.content == content
        moved = f"it was published from {earlier.key}" if earlier.key != record.key else "it was published"
        done = replace(
            record,
            state=State.PUBLISHED,
            why=f"{moved} as {earlier.request_id}" + ("" if same else ", and has changed since: that is not published"),
            next_action="" if same else _AGAIN,
            request_id=earlier.request_id,
            rest=rest_of(share, plate.entry),
        )
        self.store.save([done])
        return done

    def _order(self, chosen: Route, plate: Plate, instrument: str) -> Order:
        producer, now = self.settings.producer, self.clock()
        batch = f"{instrument or producer.host} {now:%Y-%m-%d}"
        return Order(
            owner=Owner(user=chosen.user, group=chosen.group),
            target=chosen.target,
            lane=chosen.lane or producer.lane or self.settings.broker.user,
            priority=chosen.priority,
            batch=Batch(id=uuid.uuid5(BATCH_NAMESPACE, f"{producer.host}/{batch}"), name=batch),
            submitted_by=SubmittedBy(
                host=producer.host, instrument=instrument or None, person=_text(plate.operator) or None
            ),
            options=Options(),
        )


def facts_of(candidate: Candidate, plate: Plate, instrument: str) -> Facts:
    """What rules can ask of a plate."""
    expected = plate.expected
    return Facts(
        folder=candidate.key,
        plate=expected.name if expected and expected.name else candidate.path.stem,
        barcode=expected.barcode if expected else "",
        operator=plate.operator,
        instrument=instrument or plate.instrument,
    )


def content_of(candidate: Candidate, share: Share, plate: Plate, entries: tuple[ManifestEntry, ...]) -> str:
    """What a plate is, wherever it lies and whoever may read it: its identity, and its files as seen from its folder.

    A plate without an identity of its own is known by the beginning and the end of its entry file instead; a folder
    that is to be scanned by its files alone, for what it calls its identity is its place.
    """
    top = f"{candidate.path}" if candidate.is_file else f"{candidate.path}/"
    inner = digest(ManifestEntry(path.removeprefix(top), size) for path, size in entries)
    identity = "" if plate.format == SCAN else plate.identity or sample_digest(share, plate.entry)
    return hashlib.sha256(f"{plate.format}\0{identity}\0{inner}".encode()).hexdigest()


def rest_of(share: Share, entry: str) -> Rest:
    """The entry file as it is now; all 0 when it is not there."""
    try:
        status = (share.root / entry).lstat()
    except OSError:
        return Rest(entry, 0, 0)
    return Rest(entry, status.st_size, status.st_mtime_ns)


def _ignored(record: Record, rule: str, rest: Rest) -> Record:
    return replace(record, state=State.IGNORED, why=f"the rule {rule} ignores it", next_action="", rest=rest)


def _of_a_person(request_id: str, key: str, plate: Plate) -> Published:
    """What is remembered of a plate that a person has submitted without what is missing of it."""
    return Published(f"by hand {request_id}", request_id, key, plate.identity)


def _parked(record: Record, why: str, next_action: str) -> Record:
    return replace(record, why=f"it is complete, but {why}", next_action=next_action)


def _errors(plate: Plate) -> str:
    return f"; the instrument recorded {len(plate.errors)} errors" if plate.errors else ""


def _the_plate(view: View) -> Plate:
    if view.plate is None:
        raise TypeError("a plate without an index cannot be complete")
    return view.plate


def _text(text: str) -> str:
    """What an index says of a person, as a request can carry it."""
    return "".join(character for character in text if character.isprintable())[:_MAX_TEXT]
