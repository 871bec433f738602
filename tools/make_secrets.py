"""Make the passwords for docker-compose.yml, and the broker's users with their permissions.

FOLDER gets one file for each password, and `broker-definitions`, which RabbitMQ loads at every start: virtual host,
users with hashed passwords, permissions. What is there already is kept, so run it again to add a lane, then restart
the broker. The permissions are those of the private stack, `stack/fleet_stack/rabbitmq/permissions.py`. Needs nothing
but Python 3.11.

    python3 tools/make_secrets.py ~/fleet-secrets --lane hcs --lane confocal

Only its owner may enter FOLDER. The files in it are readable for all, because containers run as users of their own.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import secrets
import sys
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "stack"))

from fleet_stack.rabbitmq.permissions import BrokerUser, users

VHOST: Final = "fleet"
DEFINITIONS: Final = "broker-definitions"
OTHER_SECRETS: Final = ("omero-importer", "omero-root", "postgres", "grafana-admin", "notify")
HASHING: Final = "rabbit_password_hashing_sha256"
SALT_BYTES: Final = 4
LANE: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?\Z")


def make(folder: Path, lanes: tuple[str, ...]) -> None:
    """Fill the folder; passwords and lanes that are there already stay."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    known = users(tuple(dict.fromkeys((*_known_lanes(folder), *lanes))))
    passwords = {user.name: _password(folder / f"broker-{user.name}") for user in known}
    for name in OTHER_SECRETS:
        _password(folder / name)
    _write(folder / DEFINITIONS, json.dumps(definitions(known, passwords), indent=2) + "\n")


def definitions(known: tuple[BrokerUser, ...], passwords: dict[str, str]) -> dict[str, Any]:
    """What RabbitMQ imports (RabbitMQ documentation, "Schema Definition Export and Import")."""
    return {
        "vhosts": [{"name": VHOST}],
        "users": [_account(user, passwords[user.name]) for user in known],
        "permissions": [
            {"user": user.name, "vhost": VHOST, "configure": user.configure, "write": user.write, "read": user.read}
            for user in known
        ],
        "exchanges": [
            {"name": name, "vhost": VHOST, "type": "topic", "durable": True, "auto_delete": False, "arguments": {}}
            for name in sorted({topic.exchange for user in known for topic in user.topics})
        ],
        "topic_permissions": [
            {"user": user.name, "vhost": VHOST, "exchange": topic.exchange, "write": topic.write, "read": topic.read}
            for user in known
            for topic in user.topics
        ],
    }


def hashed(password: str, salt: bytes) -> str:
    """A password as RabbitMQ keeps it (RabbitMQ documentation, "Passwords"): salt and SHA-256 of salt and password."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _account(user: BrokerUser, password: str) -> dict[str, Any]:
    return {
        "name": user.name,
        "password_hash": hashed(password, secrets.token_bytes(SALT_BYTES)),
        "hashing_algorithm": HASHING,
        "tags": list(user.tags),
    }


def _known_lanes(folder: Path) -> tuple[str, ...]:
    fixed = {user.name for user in users(())}
    found = (path.name.removeprefix("broker-") for path in sorted(folder.glob("broker-*")))
    return tuple(name for name in found if name not in {*fixed, DEFINITIONS.removeprefix("broker-")})


def _password(path: Path) -> str:
    if not path.exists():
        _write(path, secrets.token_urlsafe(24))
    return path.read_text(encoding="utf-8").rstrip()


def _write(path: Path, text: str) -> None:
    # Beside it first, so that a write that was cut never looks like a password.
    partial = path.with_name(f".{path.name}")
    partial.write_text(text, encoding="utf-8")
    partial.chmod(0o444)
    partial.replace(path)


def _lane(text: str) -> str:
    taken = {user.name for user in users(())} | {DEFINITIONS.removeprefix("broker-")}
    if not LANE.match(text) or text in taken:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name of a lane: lower-case letters, digits, - and _, and none of {sorted(taken)}"
        )
    return text


def main() -> None:
    """Fill the folder and say what to do next."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--lane", dest="lanes", action="append", type=_lane, required=True, help="repeatable")
    arguments = parser.parse_args()
    make(arguments.folder, tuple(arguments.lanes))
    print(f"{arguments.folder}: passwords and {DEFINITIONS} are there; set FLEET_SECRETS to this folder")


if __name__ == "__main__":
    main()
