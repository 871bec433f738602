"""The spool on a real disk: names, contents, room, damage, other platforms, and where it is."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.errors import UsageError
from fleet_common.messages import ImportRequest, encode
from fleet_common.settings import load
from fleet_producer.disk import TEMPORARY, make_folder, sync_folder, write_whole
from fleet_producer.slips import Damaged, Slip, State, new_entry, read_entry
from fleet_producer.spool import BAD, MARK, Spool, SpoolError
from fleet_producer.spoolfolder import default_folder, spool_of
from support.builders import NOW, REQUEST_ID, a_request

DIGEST = "a" * 32
OTHER_ID = uuid.UUID("7f8b1c60-1a57-4a3e-9d6a-0f6f0f4a9b12")
QUOTA_BYTES = 100_000


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool that does not exist yet, at the builders' time."""
    return Spool(tmp_path / "state/spool", QUOTA_BYTES, lambda: NOW)


def two() -> list[ImportRequest]:
    """Two requests, the second one made a second later."""
    later = NOW + timedelta(seconds=1)
    return [a_request(), a_request(request_id=OTHER_ID, submitted_at=later)]


def many() -> list[ImportRequest]:
    """So many that they are written by several threads."""
    return [a_request(request_id=uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in range(20)]


def names(spool: Spool) -> list[str]:
    """All files that are no hidden ones."""
    return sorted(file.name for file in spool.folder.iterdir() if file.is_file() and not file.name.startswith("."))


def fail_at(monkeypatch: pytest.MonkeyPatch, call: str, number: int, error: OSError) -> None:
    """Have the n-th call of a function of :mod:`os` fail, and only that."""
    real, calls = getattr(os, call), iter(range(1_000_000))

    def failing(*arguments: Any, **named: Any) -> Any:
        if next(calls) == number:
            raise error
        return real(*arguments, **named)

    monkeypatch.setattr(os, call, failing)


class TestNames:
    """What the name of a file says."""

    @given(st.uuids(), st.binary(min_size=16, max_size=16), st.none() | st.datetimes(timezones=st.just(UTC)))
    def test_a_name_is_read_as_it_was_written(self, number: uuid.UUID, digest: bytes, moment: datetime | None) -> None:
        slip = Slip(number, digest.hex())
        if moment is not None:
            slip = slip.sent(moment)
        assert Slip.parse(slip.name) == slip
        assert slip.state is (State.PENDING if moment is None else State.SENT)

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "notes.txt",
            f"{REQUEST_ID}.json",
            f"{REQUEST_ID}.{DIGEST}.pending.json.bak",
            f"{'x' * 36}.{DIGEST}.pending.json",
            f"{REQUEST_ID}.{DIGEST[1:]}.pending.json",
            f"{REQUEST_ID}.{DIGEST}.sent-.json",
            f"{REQUEST_ID}.{DIGEST}.sent--1.json",
            f"{REQUEST_ID}.{DIGEST}.sent-{'9' * 15}.json",
            f"{REQUEST_ID}.{DIGEST}.sent-{'9' * 16}.json",
            f"{str(REQUEST_ID).upper()}.{DIGEST}.pending.json",
        ],
    )
    def test_other_names_are_none_of_the_spools(self, name: str) -> None:
        with pytest.raises(Damaged):
            Slip.parse(name)

    def test_names_are_allowed_on_windows(self) -> None:
        name = new_entry(a_request()).slip.sent(NOW).name
        assert not set('<>:"/\\|?*') & set(name)
        assert len(name) < 120


class TestContents:
    """What a file must hold to be a request."""

    @given(st.data())
    def test_whatever_is_cut_or_altered_is_found(self, data: st.DataObject) -> None:
        entry = new_entry(a_request())
        at = data.draw(st.integers(0, len(entry.body) - 1))
        cut, altered = entry.body[:at], entry.body[:at] + bytes([entry.body[at] ^ 1]) + entry.body[at + 1 :]
        for body in (cut, altered, b"", entry.body + b" "):
            with pytest.raises(Damaged, match="cut or altered"):
                read_entry(entry.slip, body)

    def test_a_request_of_another_id_is_found(self) -> None:
        entry = new_entry(a_request())
        with pytest.raises(Damaged, match=f"it holds the request {REQUEST_ID}"):
            read_entry(Slip(OTHER_ID, entry.slip.digest), entry.body)

    def test_a_body_is_the_very_message(self, spool: Spool) -> None:
        (entry,) = spool.add([a_request()])
        assert (spool.folder / entry.slip.name).read_bytes() == entry.body == encode(a_request())


class TestKeeping:
    """From pending over sent to gone."""

    def test_what_was_added_is_pending_in_order_of_age(self, spool: Spool) -> None:
        first, second = two()
        spool.add([second])
        spool.add([first])
        found = spool.entries()
        assert [entry.request for entry in found] == [first, second]
        assert {entry.slip.state for entry in found} == {State.PENDING}

    def test_a_confirm_is_one_rename(self, spool: Spool) -> None:
        (entry,) = spool.add([a_request()])
        sent = spool.mark_sent(entry)
        assert names(spool) == [sent.slip.name]
        (found,) = spool.entries()
        assert (found.slip.state, found.slip.sent_at, found.body) == (State.SENT, NOW, entry.body)
        assert found.age_seconds(NOW + timedelta(hours=3)) == 3 * 3600

    def test_what_has_its_outcome_is_gone(self, spool: Spool) -> None:
        first, second = spool.add(two())
        spool.remove(spool.mark_sent(first))
        spool.remove(second)
        assert names(spool) == []
        spool.remove(second)  # twice is no error

    def test_the_same_request_again_replaces_what_was_there(self, spool: Spool) -> None:
        (entry,) = spool.add([a_request()])
        spool.mark_sent(entry)
        spool.add([a_request(target="Dataset:id:5")])
        (found,) = spool.entries()
        assert (found.slip.state, found.request.target) == (State.PENDING, "Dataset:id:5")

    def test_the_same_request_twice_in_one_call_is_kept_twice(self, spool: Spool) -> None:
        """Both are published, so both have a file."""
        spool.add([a_request(), a_request(target="Dataset:id:5")])
        assert len(spool.entries()) == 2

    def test_a_confirm_of_what_another_process_removed_makes_nothing(self, spool: Spool) -> None:
        (entry,) = spool.add([a_request()])
        spool.remove(entry)
        spool.mark_sent(entry)
        assert names(spool) == []

    def test_an_outcome_removes_what_another_process_has_sent_again(self, spool: Spool) -> None:
        (entry,) = spool.add([a_request()])
        sent = spool.mark_sent(entry)
        Spool(spool.folder, QUOTA_BYTES, lambda: NOW + timedelta(days=1)).mark_sent(sent)
        spool.remove(sent)
        assert names(spool) == []

    def test_an_outcome_leaves_what_was_submitted_since(self, spool: Spool) -> None:
        """Given a newer request of the same id, when the older one dies, then the newer one is still kept."""
        (older,) = spool.add([a_request()])
        (newer,) = spool.add([a_request(target="Dataset:id:5")])
        spool.remove(older)
        assert [entry.slip for entry in spool.entries()] == [newer.slip]

    def test_nobody_else_may_read_it(self, spool: Spool) -> None:
        (entry,) = spool.add([a_request()])
        assert spool.folder.stat().st_mode & 0o077 == 0
        assert (spool.folder / entry.slip.name).stat().st_mode & 0o077 == 0

    def test_a_spool_that_does_not_exist_is_empty_and_is_not_made(self, spool: Spool) -> None:
        assert (spool.entries(), list(spool.slips()), spool.set_aside()) == ([], [], [])
        assert not spool.folder.exists()

    def test_threads_that_add_one_request_at_once_keep_it(self, tmp_path: Path) -> None:
        """Of two that replace each other's file, at least one must stay."""
        for number in range(20):
            spool = Spool(tmp_path / str(number), QUOTA_BYTES)
            spool.add([])
            together = threading.Barrier(3)

            def add(target: int, spool: Spool = spool, together: threading.Barrier = together) -> None:
                together.wait(10)
                spool.add([a_request(target=f"Dataset:id:{target + 1}")])

            threads = [threading.Thread(target=add, args=(target,)) for target in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
            assert len(spool.entries()) >= 1

    def test_only_what_was_there_before_is_replaced(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given another process that adds the same request while this one writes, then both stay."""
        spool.add([])
        other = Spool(spool.folder, QUOTA_BYTES)
        real = os.replace

        def meanwhile(*paths: Any) -> None:
            monkeypatch.undo()
            other.add([a_request(target="Dataset:id:5")])
            real(*paths)

        monkeypatch.setattr(os, "replace", meanwhile)
        spool.add([a_request()])
        assert len(spool.entries()) == 2


class TestRoom:
    """A full disk, a quota, no right."""

    @pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
    def test_a_disk_that_is_full_at_the_second_request_keeps_none(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        spool.add([])
        fail_at(monkeypatch, call, 1, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(SpoolError, match=r"No space left on device.*Free space on its disk"):
            spool.add(two())
        monkeypatch.undo()
        assert names(spool) == []
        assert [file.name for file in spool.folder.iterdir()] == [MARK]

    def test_a_disk_that_fails_at_the_very_end_keeps_none(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        """The names of both files are written, but not known to be durable."""
        spool.add([])
        fail_at(monkeypatch, "fsync", 2, OSError(errno.EIO, "Input/output error"))
        with pytest.raises(SpoolError, match="Input/output error"):
            spool.add(two())
        assert names(spool) == []

    def test_what_was_there_stays_when_its_successor_cannot_be_kept(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool.add([a_request()])
        fail_at(monkeypatch, "write", 0, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(SpoolError):
            spool.add([a_request(target="Dataset:id:5")])
        assert [entry.request for entry in spool.entries()] == [a_request()]

    @pytest.mark.parametrize("number", [0, 7, 19])
    def test_of_many_that_are_written_at_once_none_is_kept_when_one_fails(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        spool.add([])
        fail_at(monkeypatch, "fsync", number, OSError(errno.EIO, "Input/output error"))
        with pytest.raises(SpoolError, match="Input/output error"):
            spool.add(many())
        assert [file.name for file in spool.folder.iterdir()] == [MARK]

    def test_what_was_promised_before_stays_when_it_cannot_be_written_once_more(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Given a request that waits, when the same command is repeated and the disk fails, then it still waits."""
        spool.add([a_request()])
        fail_at(monkeypatch, "fsync", 1, OSError(errno.EIO, "Input/output error"))
        with pytest.raises(SpoolError):
            spool.add(two())
        assert [entry.request for entry in spool.entries()] == [a_request()]

    def test_a_quota_stops_with_what_to_do(self, tmp_path: Path) -> None:
        size = len(encode(a_request()))
        spool = Spool(tmp_path / "spool", int(1.5 * size))
        spool.add([a_request()])
        with pytest.raises(SpoolError, match=r"may not hold .* more: resend, settle or drop .*spool_quota_bytes"):
            spool.add([a_request(request_id=OTHER_ID)])
        assert len(spool.entries()) == 1

    def test_what_was_set_aside_counts_for_the_quota(self, tmp_path: Path) -> None:
        size = len(encode(a_request()))
        spool = Spool(tmp_path / "spool", int(2.5 * size))
        spool.add([a_request()])
        (spool.folder / "notes.txt").write_bytes(bytes(size))
        spool.entries()
        with pytest.raises(SpoolError, match="may not hold"):
            spool.add([a_request(request_id=OTHER_ID)])

    def test_a_folder_that_cannot_be_made_says_what_to_set(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no folder", encoding="utf-8")
        with pytest.raises(SpoolError, match=r"Let producer\.spool name a folder that this user may write to"):
            Spool(tmp_path / "file/spool", QUOTA_BYTES).add([a_request()])

    def test_a_failed_note_leaves_the_entry_as_it_was(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        (entry,) = spool.add([a_request()])
        fail_at(monkeypatch, "replace", 0, OSError(errno.EIO, "Input/output error"))
        with pytest.raises(SpoolError):
            spool.mark_sent(entry)
        assert [found.slip for found in spool.entries()] == [entry.slip]


class TestDamage:
    """Files that are no requests are moved aside, with the reason, and never deleted."""

    def spoil(self, spool: Spool, content: bytes = b"{") -> str:
        (entry,) = spool.add([a_request()])
        (spool.folder / entry.slip.name).write_bytes(content)
        return entry.slip.name

    @pytest.mark.parametrize("content", [b"", b"{", b"\0" * 300])
    def test_a_torn_file_is_set_aside(self, spool: Spool, content: bytes) -> None:
        name = self.spoil(spool, content)
        assert spool.entries() == []
        (aside,) = spool.set_aside()
        assert aside.name.startswith(f"{name}~")
        assert "does not" not in aside.reason
        assert "cut or altered" in aside.reason
        assert (spool.folder / BAD / aside.name).read_bytes() == content

    def test_a_foreign_file_is_set_aside(self, spool: Spool) -> None:
        spool.add(two())
        (spool.folder / "notes.txt").write_text("mine", encoding="utf-8")
        assert len(spool.entries()) == 2
        (aside,) = spool.set_aside()
        assert (spool.folder / BAD / aside.name).read_text(encoding="utf-8") == "mine"
        assert aside.reason == "the name is none of the spool's"

    def test_hidden_files_and_folders_and_links_are_left_alone(self, spool: Spool, tmp_path: Path) -> None:
        spool.add([a_request()])
        (spool.folder / ".nfs0001").write_bytes(b"")
        (spool.folder / "folder").mkdir()
        (spool.folder / "link").symlink_to(tmp_path)
        assert len(spool.entries()) == 1
        assert spool.set_aside() == []

    def test_a_temporary_file_is_left_to_its_writer_for_an_hour(self, spool: Spool) -> None:
        spool.add([])
        left = spool.folder / f"{TEMPORARY}0123"
        left.write_bytes(b"{")
        for minutes, there in ((59, True), (61, False)):
            written = (NOW - timedelta(minutes=minutes)).timestamp()
            os.utime(left, (written, written))
            spool.entries()
            assert left.exists() is there
        (aside,) = spool.set_aside()
        assert "never finished" in aside.reason

    def test_a_request_of_a_newer_version_waits_for_the_upgrade(self, spool: Spool) -> None:
        body = encode(a_request()).replace(b'"version":1', b'"version":2')
        newer = Slip(REQUEST_ID, hashlib.sha256(body).hexdigest()[:32])
        spool.add([])
        write_whole(spool.folder, newer.name, body)
        assert spool.entries() == []
        (aside,) = spool.set_aside()
        assert "newer-version" in aside.reason
        assert spool.restore(aside.name) == []
        assert spool.set_aside() == [aside]

    def test_what_is_whole_again_is_taken_back(self, spool: Spool) -> None:
        """Given a file that was set aside for wrong bytes, when the disk gives the right ones, then it is back."""
        name = self.spoil(spool)
        spool.entries()
        (aside,) = spool.set_aside()
        assert spool.restore(aside.name) == []
        (spool.folder / BAD / aside.name).write_bytes(encode(a_request()))
        (entry,) = spool.restore(aside.name)
        assert (entry.slip.name, entry.request) == (name, a_request())
        assert spool.set_aside() == []
        assert [found.slip for found in spool.entries()] == [entry.slip]

    def test_what_was_set_aside_can_be_dropped(self, spool: Spool) -> None:
        self.spoil(spool)
        spool.entries()
        spool.drop_aside(spool.set_aside()[0].name)
        assert list((spool.folder / BAD).iterdir()) == []

    def test_a_folder_with_other_things_is_refused_and_stays_as_it_is(self, tmp_path: Path) -> None:
        """Somebody may set producer.spool to the folder of the data."""
        (tmp_path / "plate1.tif").write_bytes(b"cells")
        spool = Spool(tmp_path, QUOTA_BYTES)
        for use in (spool.entries, lambda: spool.add([a_request()])):
            with pytest.raises(UsageError, match=r"holds other files \(plate1\.tif\): let producer\.spool name"):
                use()
        assert [file.name for file in tmp_path.iterdir()] == ["plate1.tif"]


class TestPlatforms:
    """Without fcntl, pwd, folders that can be opened, and with Windows' own folder."""

    def test_it_works_where_folders_cannot_be_opened(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        """As on Windows; there os.O_DIRECTORY does not exist."""
        monkeypatch.delattr(os, "O_DIRECTORY")
        spool.add(two())
        sync_folder(spool.folder / "does not exist")
        assert len(spool.entries()) == 2

    def test_it_needs_nothing_that_windows_lacks(self, tmp_path: Path) -> None:
        program = (
            "import sys; sys.modules.update(fcntl=None, pwd=None, grp=None, resource=None)\n"
            "from pathlib import Path\n"
            "from fleet_producer.spool import Spool\n"
            f"print(Spool(Path({str(tmp_path / 'spool')!r}), 1000).add([]))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
        assert (done.stdout.strip(), done.stderr) == ("[]", "")

    def test_every_new_folder_is_durable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        synced: list[Path] = []
        monkeypatch.setattr("fleet_producer.disk.sync_folder", synced.append)
        make_folder(tmp_path / "a/b/c")
        assert synced == [tmp_path, tmp_path / "a", tmp_path / "a/b"]

    def test_an_older_file_stays_when_its_successor_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_whole(tmp_path, "x", b"old")
        fail_at(monkeypatch, "fsync", 0, OSError(errno.EIO, "Input/output error"))
        with pytest.raises(OSError, match="Input/output"):
            write_whole(tmp_path, "x", b"new")
        assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("x", b"old")]


class TestWhere:
    """The folder, when the settings do not name one."""

    def test_below_the_state_folder(self) -> None:
        folder = default_folder("rabbit.example.org", "fleet", {"XDG_STATE_HOME": "/var/state"}, windows=False)
        assert folder == Path("/var/state/omero-fleet/spool/fleet@rabbit.example.org")

    @pytest.mark.parametrize("environment", [{}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "relative"}])
    def test_else_below_the_home_folder(self, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/alice")
        folder = default_folder("rabbit", "/", environment, windows=False)
        assert folder == Path("/alice/.local/state/omero-fleet/spool/%2F@rabbit")

    def test_on_windows_below_the_local_application_data(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/alice")
        named = default_folder("rabbit", "/", {"LOCALAPPDATA": "/appdata", "XDG_STATE_HOME": "/x"}, windows=True)
        unnamed = default_folder("rabbit", "/", {"XDG_STATE_HOME": "/x"}, windows=True)
        assert named == Path("/appdata/omero-fleet/spool/%2F@rabbit")
        assert unnamed == Path("/alice/AppData/Local/omero-fleet/spool/%2F@rabbit")

    def test_each_broker_has_its_own(self) -> None:
        """What was meant for a trial must never be sent to the facility's broker."""
        brokers = [("a", "/"), ("b", "/"), ("a", "fleet"), ("a", "fleet/2"), ("a", "fleet_2")]
        assert len({default_folder(host, vhost, {}, windows=False) for host, vhost in brokers}) == len(brokers)

    def test_the_name_is_one_folder_that_windows_allows(self) -> None:
        folder = default_folder("::1", "../a:b\\c*?", {"XDG_STATE_HOME": "/s"}, windows=False)
        assert folder.parent == Path("/s/omero-fleet/spool")
        assert not set('<>:"/\\|?*') & set(folder.name)

    def test_a_user_without_a_home_is_told_what_to_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def homeless() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", homeless)
        with pytest.raises(UsageError, match=r"let producer\.spool name a folder"):
            default_folder("rabbit", "/", {}, windows=False)

    def test_the_settings_win(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OMERO_FLEET_PRODUCER__SPOOL", str(tmp_path / "mine"))
        assert spool_of(load()).folder == tmp_path / "mine"
        monkeypatch.delenv("OMERO_FLEET_PRODUCER__SPOOL")
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        assert spool_of(load()).folder == tmp_path / "omero-fleet/spool/%2F@localhost"
