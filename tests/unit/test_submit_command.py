"""omero-fleet submit: what it checks, publishes, prints and ends with, against stand-ins for the broker."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from fleet_common.broker import BrokerUnavailable, PublishRefused, PublishTimeout, PublishUnroutable
from fleet_common.events import Kind
from fleet_common.exits import Exit
from fleet_common.messages import Priority, Skip
from support.producing import Broker, Submitting, Tell, dead, imported, silence, with_broker


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Broker:
    """A broker, an account for it in the environment, and a spool."""
    return with_broker(monkeypatch, tmp_path / "spool")


@pytest.fixture
def submit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Submitting:
    """The command, on a share of its own."""
    return Submitting(tmp_path, capsys)


# --- published -----------------------------------------------------------------------------------------------------


def test_one_request_is_published_for_each_path(broker: Broker, submit: Submitting) -> None:
    """In the order of the paths, all of one batch, told as accepted; the doorbell rings at the first and at the end."""
    call = submit(submit.file("a.tif"), submit.file("b.tif"))
    assert call.code == Exit.OK
    assert [request.source.path for request in broker.requests] == ["a.tif", "b.tif"]
    assert len({request.batch.id for request in broker.requests}) == 1
    assert [told.kind for told in broker.events] == [Kind.ACCEPTED] * 2
    assert broker.steps == ["publisher started", "published", "rang", "published", "rang", "publisher stopped"]


def test_a_message_carries_its_id_and_its_key(broker: Broker, submit: Submitting) -> None:
    """To the exchange for requests, into the own lane, persistent and mandatory."""
    submit(submit.file("a.tif"), "--priority", "urgent")
    (message,), (request,) = broker.messages, broker.requests
    assert (message.exchange, message.routing_key) == ("import.requests", "phenix1.urgent")
    assert (message.message_id, message.timestamp) == (str(request.request_id), request.submitted_at)
    assert (message.persistent, message.mandatory) == (True, True)


def test_the_request_id_is_printed(broker: Broker, submit: Submitting) -> None:
    """One line a request."""
    call = submit(submit.file("a.tif"))
    assert call.out == f"{broker.requests[0].request_id} accepted hcs/a.tif\n"


def test_the_same_as_json(broker: Broker, submit: Submitting) -> None:
    """For programs."""
    (row,) = submit(submit.file("a.tif"), "--json", "--batch", "tuesday").rows
    assert row == {
        "request_id": str(broker.requests[0].request_id),
        "source": "hcs/a.tif",
        "format": "file",
        "lane": "phenix1",
        "batch": {"id": str(broker.requests[0].batch.id), "name": "tuesday"},
        "files": 1,
        "bytes": 5,
        "state": "accepted",
    }


def test_every_option_reaches_the_request(broker: Broker, submit: Submitting) -> None:
    """None is accepted and forgotten."""
    options = "--lane cv8000 --priority bulk --batch tuesday --name N --description D --checksum-algorithm MD5-128"
    submit(submit.file("a.tif"), *options.split(), "--skip", "thumbnails", "--skip", "minmax", "--parallel-upload", "2")
    (request,) = broker.requests
    assert (request.lane, request.priority, request.batch.name) == ("cv8000", Priority.BULK, "tuesday")
    assert request.options.model_dump(mode="json") == {
        "name": "N",
        "description": "D",
        "checksum_algorithm": "MD5-128",
        "skip": ["thumbnails", "minmax"],
        "parallel_upload": 2,
    }
    assert (request.owner.user, request.owner.group, request.target) == ("alice", "screening", "Dataset:+name:D")


def test_skip_all_is_every_skip(broker: Broker, submit: Submitting) -> None:
    """As the official importer means it."""
    submit(submit.file("a.tif"), "--skip", "all")
    assert broker.requests[0].options.skip == tuple(Skip)


def test_again_is_another_request(broker: Broker, submit: Submitting) -> None:
    """And without it, the same one."""
    path = submit.file("a.tif")
    for more in ((), (), ("--again",), ("--again",)):
        submit(path, *more)
    first, second, third, fourth = (request.request_id for request in broker.requests)
    assert first == second
    assert len({first, third, fourth}) == 3


def test_the_lane_is_that_of_the_settings_before_that_of_the_user(
    broker: Broker, submit: Submitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker user speaks for its lane where nothing else is said."""
    path = submit.file("a.tif")
    submit(path)
    monkeypatch.setenv("OMERO_FLEET_PRODUCER__LANE", "confocal")
    submit(path)
    submit(path, "--lane", "hcs")
    assert [request.lane for request in broker.requests] == ["phenix1", "confocal", "hcs"]


def test_a_user_without_a_name_may_submit(broker: Broker, submit: Submitting, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container runs under a number."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert submit(submit.file("a.tif")).code == Exit.OK
    assert broker.requests[0].submitted_by.person is None


def test_the_password_goes_to_the_broker_only(broker: Broker, submit: Submitting) -> None:
    """Neither printed nor published."""
    call = submit(submit.file("a.tif"))
    assert broker.addresses[0].password.get_secret_value() == "hunter2"
    assert "hunter2" not in call.out + call.err + repr(broker.messages) + repr(broker.addresses)


# --- checked only --------------------------------------------------------------------------------------------------


def test_a_dry_run_publishes_nothing_and_needs_no_broker(
    broker: Broker, submit: Submitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even an account."""
    monkeypatch.delenv("OMERO_FLEET_BROKER__PASSWORD")
    call = submit(submit.file("a.tif"), "--dry-run")
    assert (call.code, broker.steps) == (Exit.OK, [])
    assert call.out.endswith(" checked hcs/a.tif\n")


def test_a_folder_of_no_known_format_becomes_one_scan_and_says_so(broker: Broker, submit: Submitting) -> None:
    """Given two images in a folder, then one request is published; on stderr it is told from a plate."""
    (submit.root / "run").mkdir()
    submit.file("run/a.tif")
    submit.file("run/b.tif")
    call = submit(str(submit.root / "run"), "--json")
    (row,) = call.rows
    assert (call.code, row["format"], row["source"], row["files"]) == (Exit.OK, "scan", "hcs/run", 2)
    assert "run: no plate of a known format; a worker looks what its 2 files are (scan)\n" in call.err
    assert [request.source.path for request in broker.requests] == ["run"]


def test_when_one_path_is_not_fit_nothing_is_published(broker: Broker, submit: Submitting) -> None:
    """And every problem is told, with what to do."""
    paths = [submit.file("a.tif"), submit.file("b.tif", b""), str(submit.root / "gone.tif")]
    call = submit(*paths)
    assert (call.code, broker.steps, call.out) == (Exit.REFUSED, [], "")
    assert f"{paths[1]}: file-empty: " in call.err
    assert f"{paths[2]}: manifest-differs: " in call.err
    assert "2 of 3 are not fit for import; nothing was published" in call.err


@pytest.mark.parametrize("target", ["Screen:id:5", "Screen:+name:X"])
def test_an_image_for_a_screen_is_refused(broker: Broker, submit: Submitting, target: str) -> None:
    """OMERO would say OK and link nothing."""
    call = submit(submit.file("a.tif"), target=target)
    assert (call.code, broker.steps) == (Exit.REFUSED, [])
    assert "target-mismatch" in call.err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--priority", "high"], "'high' is not one of 'urgent', 'normal', 'bulk'"),
        (["--checksum-algorithm", "md5"], "'md5' is not one of"),
        (["--skip", "everything"], "'everything' is not one of"),
        (["--parallel-upload", "0"], "parallel_upload: Input should be greater than or equal to 1"),
        (["--parallel-upload", "x"], "'x' is not a valid integer"),
        (["--name", "x" * 256], "name: String should have at most 255 characters"),
        (["--lane", "Phenix 1"], "lane: String should match pattern"),
        (["--batch", "two\nlines"], "name: Value error, must hold printable characters only"),
        (["--share", "hcs"], "--share wants NAME=DIR, not 'hcs'"),
        (["--share", "=dir"], "--share wants NAME=DIR, not '=dir'"),
        (["--nonsense"], "No such option"),
    ],
    ids=lambda one: str(one)[:30],
)
def test_a_wrong_option_is_a_usage_error(broker: Broker, submit: Submitting, more: list[str], says: str) -> None:
    """Said without a traceback, before anything is done."""
    call = submit(submit.file("a.tif"), *more)
    assert (call.code, broker.steps) == (Exit.USAGE, [])
    assert says in call.err
    assert "Traceback" not in call.err


def test_a_target_that_is_none_is_a_usage_error(broker: Broker, submit: Submitting) -> None:
    """With the accepted forms."""
    call = submit(submit.file("a.tif"), target="Datset:id:5")
    assert (call.code, broker.steps) == (Exit.USAGE, [])
    assert "write Dataset:id:5" in call.err


def test_without_any_share_it_says_how_to_name_one(broker: Broker, submit: Submitting) -> None:
    """On a host without settings."""
    call = submit.bare("submit", submit.file("a.tif"), "--target", "Dataset:id:5", "--user", "a", "--group", "g")
    assert (call.code, broker.steps) == (Exit.USAGE, [])
    assert "name one with --share NAME=DIR" in call.err


def test_without_a_password_it_says_what_to_set(
    broker: Broker, submit: Submitting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And for which account."""
    monkeypatch.delenv("OMERO_FLEET_BROKER__PASSWORD")
    call = submit(submit.file("a.tif"))
    assert (call.code, broker.steps) == (Exit.USAGE, [])
    assert "no password for the account 'phenix1': set broker.password_file" in call.err


@pytest.mark.parametrize("option", ["--target", "--user", "--group"])
def test_what_is_required_is_named(submit: Submitting, option: str) -> None:
    """As click does."""
    given = {"--target": "Dataset:id:5", "--user": "a", "--group": "g"}
    words = [word for name, value in given.items() if name != option for word in (name, value)]
    call = submit.bare("submit", submit.file("a.tif"), *words)
    assert call.code == Exit.USAGE
    assert f"Missing option '{option}'" in call.err


# --- the broker does not take it -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PublishTimeout("confirm timed out after 60 s"), Exit.NOT_CONFIRMED),
        (PublishRefused("the queue is full"), Exit.NOT_PUBLISHED),
        (PublishRefused("no permission", 403), Exit.NOT_PUBLISHED),
        (PublishUnroutable("found no queue"), Exit.NOT_PUBLISHED),
        (BrokerUnavailable("no connection"), Exit.NOT_PUBLISHED),
    ],
    ids=["no confirm", "full", "no permission", "unroutable", "unreachable"],
)
def test_without_a_confirm_it_says_that_it_may_be_repeated(
    broker: Broker, submit: Submitting, error: Exception, expected: Exit
) -> None:
    """Each with its documented exit code."""
    broker.fails[0] = error
    call = submit(submit.file("a.tif"))
    assert (call.code, call.out) == (expected, "")
    assert str(error) in call.err
    assert "The same command may safely be repeated: nothing is imported twice. (0 of 1 requests" in call.err
    assert broker.steps == ["publisher started", "publisher stopped"]


LATER_FAILURES = pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PublishTimeout("confirm timed out after 60 s"), Exit.NOT_CONFIRMED),
        (PublishRefused("the queue is full"), Exit.NOT_PUBLISHED),
        (BrokerUnavailable("no connection"), Exit.NOT_PUBLISHED),
    ],
    ids=["no confirm", "full", "unreachable"],
)


@LATER_FAILURES
@pytest.mark.parametrize("wait", [(), ("--wait",)], ids=["alone", "with --wait"])
def test_what_was_confirmed_is_printed_when_a_later_request_fails(
    broker: Broker, submit: Submitting, error: Exception, expected: Exit, wait: tuple[str, ...]
) -> None:
    """Given three requests of which the third fails, then two are printed, the doorbell rings, and the error counts."""
    broker.fails[2] = error
    call = submit(*(submit.file(name) for name in ("a.tif", "b.tif", "c.tif")), *wait)
    first, second = broker.requests
    assert call.code == expected
    assert call.out == f"{first.request_id} accepted hcs/a.tif\n{second.request_id} accepted hcs/b.tif\n"
    assert f"{error}. The same command may safely be repeated" in call.err
    assert "(2 of 3 requests were published)" in call.err
    assert [told.kind for told in broker.events] == [Kind.ACCEPTED] * 2
    assert [step for step in broker.steps if "follower" not in step] == [
        "publisher started",
        "published",
        "rang",
        "published",
        "rang",
        "publisher stopped",
    ]


@LATER_FAILURES
def test_a_program_hears_of_what_was_confirmed_too(
    broker: Broker, submit: Submitting, error: Exception, expected: Exit
) -> None:
    """The same object as after a success, with those alone that the broker holds."""
    broker.fails[1] = error
    call = submit(submit.file("a.tif"), submit.file("b.tif"), "--json")
    assert call.code == expected
    assert [(row["source"], row["state"]) for row in call.rows] == [("hcs/a.tif", "accepted")]
    assert call.rows[0]["request_id"] == str(broker.requests[0].request_id)


def test_nothing_is_published_when_nobody_can_follow(broker: Broker, submit: Submitting) -> None:
    """With --wait the follower comes first."""
    broker.attach_fails = BrokerUnavailable("not attached within 30 s")
    assert submit(submit.file("a.tif"), "--wait", "--deadline", "3").code == Exit.NOT_PUBLISHED
    assert broker.messages == []
    assert broker.attach_seconds == [3.0]


# --- waiting -------------------------------------------------------------------------------------------------------


def test_the_follower_is_attached_before_anything_is_published(broker: Broker, submit: Submitting) -> None:
    """Or the outcome could come before anybody listens; it follows the one lane of the call."""
    broker.tell = imported
    submit(submit.file("a.tif"), "--wait")
    assert broker.steps.index("follower attached") < broker.steps.index("published")
    assert broker.lanes == [["phenix1"]]


@pytest.mark.parametrize(("tell", "expected"), [(imported, Exit.OK), (dead, Exit.DEAD), (silence, Exit.STILL_WAITING)])
def test_with_wait_it_ends_by_the_outcome(broker: Broker, submit: Submitting, tell: Tell, expected: Exit) -> None:
    """0, 6 or 7."""
    broker.tell = tell
    call = submit(submit.file("a.tif"), "--wait")
    assert call.code == expected
    assert broker.steps[-1] == "follower detached"


@pytest.mark.parametrize("gaps", [0, 1, 3])
def test_a_lost_connection_is_told_once_with_what_to_do(broker: Broker, submit: Submitting, gaps: int) -> None:
    """On standard error, however often it was lost; the outcomes that come still count."""
    broker.tell, broker.gaps = (lambda request: imported(request)[:1]), gaps
    call = submit(submit.file("a.tif"), submit.file("b.tif"), "--wait")
    assert call.code == Exit.STILL_WAITING
    assert call.err.count("the connection to RabbitMQ was lost for a while") == min(gaps, 1)
    assert call.err.count("omero-fleet status REQUEST; the same command, repeated, answers already-imported") == min(
        gaps, 1
    )


def test_without_wait_nobody_follows(broker: Broker, submit: Submitting) -> None:
    """A producer that does not wait needs no right to follow."""
    submit(submit.file("a.tif"))
    assert broker.lanes == []


def test_an_outcome_is_printed_with_what_omero_holds(broker: Broker, submit: Submitting) -> None:
    """The plate's id is what people look for."""
    broker.tell = imported
    assert "imported hcs/a.tif Fileset:7 Plate:51" in submit(submit.file("a.tif"), "--wait").out


def test_a_death_is_printed_with_why_and_what_to_do(broker: Broker, submit: Submitting) -> None:
    """On the same line."""
    broker.tell = dead
    assert "dead hcs/a.tif unknown-format: no reader Convert it." in submit(submit.file("a.tif"), "--wait").out


def test_the_whole_status_is_in_the_json(broker: Broker, submit: Submitting) -> None:
    """Beside the state."""
    broker.tell = imported
    (row,) = submit(submit.file("a.tif"), "--wait", "--json").rows
    assert row["state"] == "imported"
    assert (row["status"]["result"]["fileset_id"], row["status"]["result"]["plate_ids"]) == (7, [51])
