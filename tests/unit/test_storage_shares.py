"""Shares by name, and the share of a local path."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from fleet_common.errors import Permanent, Reason, Transient
from fleet_common.storage import Share, Shares


@pytest.fixture
def shares(tmp_path: Path) -> Shares:
    """A share, and a second one mounted inside it."""
    for folder in ("hcs", "hcs/inner", "confocal"):
        (tmp_path / folder).mkdir()
    names = {"hcs": "hcs", "inner": "hcs/inner", "confocal": "confocal", "gone": "gone"}
    return Shares(Share(name, tmp_path / folder) for name, folder in names.items())


def test_a_share_is_found_by_its_name(shares: Shares, tmp_path: Path) -> None:
    """Shares are a mapping."""
    assert shares["confocal"] == Share("confocal", tmp_path / "confocal")
    assert sorted(shares) == ["confocal", "gone", "hcs", "inner"]
    assert len(shares) == 4
    assert "hcs" in shares
    assert "other" not in shares


def test_an_unknown_share_is_refused_with_the_known_ones(shares: Shares) -> None:
    """A worker whose settings lack the share will lack it at every try."""
    with pytest.raises(
        Permanent, match=r"'other' is not in this host's settings \(known: confocal, gone, hcs, inner\)"
    ) as e:
        shares["other"]
    assert e.value.reason is Reason.UNKNOWN_SHARE


def test_a_share_that_is_not_mounted_is_worth_another_try(shares: Shares) -> None:
    """A missing root costs no attempt."""
    with pytest.raises(Transient, match="not mounted here") as caught:
        shares["gone"]
    assert caught.value.reason is Reason.SHARE_UNAVAILABLE
    assert not caught.value.rule.costs_attempt


@pytest.mark.parametrize(
    ("path", "share", "relative"),
    [
        ("hcs/plate/Images/Index.idx.xml", "hcs", "plate/Images/Index.idx.xml"),
        ("hcs/inner/plate", "inner", "plate"),
        ("hcs/x/../plate", "hcs", "plate"),
        ("hcs", "hcs", "."),
        ("hcs/innermost", "hcs", "innermost"),
    ],
)
def test_the_longest_root_wins(shares: Shares, tmp_path: Path, path: str, share: str, relative: str) -> None:
    """A share mounted inside another is the nearer one; a common beginning of names is no root."""
    assert shares.locate(tmp_path / path) == (share, PurePosixPath(relative))


def test_a_path_is_found_however_its_beginning_is_spelled(shares: Shares, tmp_path: Path) -> None:
    """The administrator's link to the share leads to the share."""
    (tmp_path / "link").symlink_to(tmp_path / "hcs")
    assert shares.locate(tmp_path / "link" / "plate") == ("hcs", PurePosixPath("plate"))


def test_a_relative_path_is_one_of_the_current_folder(
    shares: Shares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a person at the command line expects."""
    monkeypatch.chdir(tmp_path / "hcs")
    assert shares.locate(Path("plate")) == ("hcs", PurePosixPath("plate"))


def test_a_link_inside_a_share_is_not_followed_to_another(shares: Shares, tmp_path: Path) -> None:
    """The path stays what it says, and opening it will refuse the link."""
    (tmp_path / "hcs" / "link").symlink_to(tmp_path / "confocal")
    assert shares.locate(tmp_path / "hcs" / "link" / "a.tif") == ("hcs", PurePosixPath("link/a.tif"))


def test_a_path_outside_all_shares_is_refused(shares: Shares, tmp_path: Path) -> None:
    """The error names the shares of this host."""
    with pytest.raises(Permanent, match=r"lies in no share of this host.*hcs=") as caught:
        shares.locate(tmp_path / "elsewhere")
    assert caught.value.reason is Reason.UNSAFE_PATH


def test_a_located_path_is_checked(shares: Shares, tmp_path: Path) -> None:
    """A name that OMERO refuses is refused before anything is published."""
    with pytest.raises(Permanent, match="holds :") as caught:
        shares.locate(tmp_path / "hcs" / "cells:1.tif")
    assert caught.value.reason is Reason.NAME_REFUSED
