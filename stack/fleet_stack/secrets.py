"""Passwords of a stack: made once, kept in files that only their owner can read.

Role: the only place that makes or reads a password. Neighbours: the parts that create users. Threading: any thread and
any process may ask for the same secret at the same time; one of them makes it.
"""

from __future__ import annotations

import os
import re
import secrets
from typing import TYPE_CHECKING, Final

from fleet_stack.console import StackError

if TYPE_CHECKING:
    from pathlib import Path

    from fleet_stack.layout import Layout

RANDOM_BYTES: Final = 24
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")


def secret_file(layout: Layout, name: str) -> Path:
    """Where a secret is kept: ``<state>/secrets/<name>``, mode 0600, without a line end."""
    if not NAME.fullmatch(name):
        raise StackError(f"{name!r} is no name of a secret: use a-z, 0-9, '.', '_' and '-'")
    return layout.secrets / name


def secret(layout: Layout, name: str) -> str:
    """The secret of this name, made on first use: random and safe in URLs and configuration files."""
    path = secret_file(layout, name)
    if not path.exists():
        layout.make()
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _create(path, secrets.token_urlsafe(RANDOM_BYTES))
    return path.read_text().strip()


def _create(path: Path, value: str) -> None:
    # Written aside and linked into place: nobody ever reads half a secret, and the first of two makers wins.
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(value)
    try:
        path.hardlink_to(aside)
    except FileExistsError:
        return
    finally:
        aside.unlink()
