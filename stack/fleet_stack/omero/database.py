"""The private PostgreSQL of one stack.

It listens on 127.0.0.1 only, asks everybody for a password, and belongs to the user ``postgres`` when root starts it,
because PostgreSQL refuses to run as root. Used by ``part``; built on ``schema`` and ``packages``. No threads.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fleet_stack import processes
from fleet_stack.console import StackError, run, step
from fleet_stack.layout import Layout, open_folder
from fleet_stack.omero import schema
from fleet_stack.omero.packages import Packages
from fleet_stack.secrets import secret

HOST: Final = "127.0.0.1"
SUPERUSER: Final = "postgres"
NAME: Final = "omero"
USER: Final = "omero"
TIMEOUT_SECONDS: Final = 60

# Lost when the machine (not PostgreSQL) crashes; imports take about half of the time.
UNSAFE: Final = ("-c fsync=off", "-c synchronous_commit=off", "-c full_page_writes=off")


class Database:
    """One cluster with OMERO's database in it.

    Args:
        layout: The stack.
        unsafe: Whether PostgreSQL may leave its writes to the operating system. A demo or a test loses nothing by it: a
            stack is made anew in seconds, and even ``kill -9`` of PostgreSQL does no harm, only a crash of the machine.
    """

    def __init__(self, layout: Layout, *, unsafe: bool) -> None:
        self._layout = layout
        self._unsafe = unsafe
        self._data = layout.postgres / "data"

    @property
    def log(self) -> Path:
        """What PostgreSQL says."""
        return self._layout.postgres / "postgresql.log"

    def process(self) -> str | None:
        """The identity of the running postmaster, None when there is none."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split()[0])
            # The file may be left over, and the number be another program's by now: a postmaster stands in its data.
            ours = Path(f"/proc/{pid}/cwd").resolve(strict=True) == self._data
        except (OSError, ValueError, IndexError):
            return None
        return processes.identity(pid) if ours else None

    def initialise(self, packages: Packages) -> None:
        """Create the cluster and OMERO's database, as far as they are missing; leaves PostgreSQL running.

        Raises:
            StackError: The user ``postgres`` cannot enter the state folder, or PostgreSQL refused.
        """
        if not (self._data / "PG_VERSION").exists():
            with step("create the PostgreSQL cluster"):
                self._create_cluster()
        self.start()
        if NAME not in self._sql("select datname from pg_database", database="postgres").split():
            with step("create OMERO's database"):
                self._create_database(packages)

    def start(self) -> None:
        """Start PostgreSQL unless it runs.

        Raises:
            StackError: Its port is taken, or it did not start; the text names the log.
        """
        if self.process() is not None:
            return
        if processes.accepts(self._layout.ports.postgres):
            raise StackError(
                f"port {self._layout.ports.postgres} is taken by another program than this stack's PostgreSQL"
            )
        with step("start PostgreSQL"), self._explained():
            self._tool("pg_ctl", *self._pg_ctl("-l", str(self.log), "-o", " ".join(self._options())), "start")

    def stop(self) -> None:
        """Stop PostgreSQL if it runs; open connections are closed."""
        if self.process() is not None:
            with step("stop PostgreSQL"):
                self._tool("pg_ctl", *self._pg_ctl("-m", "fast"), "stop")

    def _options(self) -> list[str]:
        options = [f"-p {self._layout.ports.postgres}", f"-c listen_addresses={HOST}", "-c unix_socket_directories=''"]
        options += ["-c max_connections=250", "-c shared_buffers=128MB"]
        return [*options, *UNSAFE] if self._unsafe else options

    def _pg_ctl(self, *more: str) -> list[str]:
        return ["-D", str(self._data), "-w", "-s", "-t", str(TIMEOUT_SECONDS), *more]

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except StackError as error:
            raise StackError(f"PostgreSQL did not start; {self.log} says why\n{error}") from error

    def _create_cluster(self) -> None:
        self._layout.make()
        open_folder(self._layout.postgres)
        _give_to_postgres(self._layout.postgres)
        _check_entry(self._layout.postgres)
        shutil.rmtree(self._data, ignore_errors=True)  # left over from a start that was cut
        aside = self._layout.postgres / "making"
        shutil.rmtree(aside, ignore_errors=True)
        with self._file("superuser", secret(self._layout, "postgres") + "\n") as password:
            options = ["-U", SUPERUSER, "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--locale=C.UTF-8"]
            self._tool("initdb", "-D", str(aside), "--no-sync", *options)
        aside.rename(self._data)

    def _create_database(self, packages: Packages) -> None:
        exported = packages.schema.read_text(encoding="utf-8")
        script = schema.render(packages.resource, exported, secret(self._layout, "omero-root"))
        # A database of the final name is complete.
        making = f"{NAME}_making"
        role = f"create role {USER} login password '{secret(self._layout, 'omero-database')}'"
        for command in (f"drop database if exists {making}", f"drop role if exists {USER}", role):
            self._sql(command, database="postgres")
        self._sql(f"create database {making} owner {USER}", database="postgres")
        self._sql(script, database=making, user=USER)
        self._sql(f"alter database {making} rename to {NAME}", database="postgres")

    def _sql(self, text: str, *, database: str, user: str = SUPERUSER) -> str:
        # From a file: an argument would show a password to every local user.
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self._layout.state, suffix=".sql") as file:
            file.write(text)
            file.flush()
            command = ["-qAtX", "-v", "ON_ERROR_STOP=1", "-h", HOST, "-p", str(self._layout.ports.postgres)]
            return run([_program("psql"), *command, "-U", user, "-d", database, "-f", file.name], env=self._login(user))

    def _login(self, user: str) -> dict[str, str]:
        name = "postgres" if user == SUPERUSER else "omero-database"
        return {**os.environ, "PGPASSWORD": secret(self._layout, name)}

    @contextlib.contextmanager
    def _file(self, name: str, text: str) -> Iterator[Path]:
        path = self._layout.postgres / name
        path.touch(mode=0o600)
        _give_to_postgres(path)
        path.write_text(text)
        try:
            yield path
        finally:
            path.unlink()

    def _tool(self, name: str, *arguments: str) -> None:
        # The working folder must be one that the user postgres may enter.
        run([*_as_postgres(), _program(name), *arguments], cwd=Path("/"), timeout_seconds=2 * TIMEOUT_SECONDS)


def _program(name: str) -> Path:
    """The newest installed PostgreSQL's program of that name."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    if not versions:
        raise StackError("PostgreSQL is not installed: install the stack first")
    return versions[-1] / name


def _as_postgres() -> list[str]:
    return ["runuser", "-u", SUPERUSER, "--"] if os.geteuid() == 0 else []


def _give_to_postgres(path: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, SUPERUSER, SUPERUSER)


def _check_entry(folder: Path) -> None:
    closed = [parent for parent in folder.parents if not parent.stat().st_mode & 0o001]
    if os.geteuid() == 0 and closed:
        raise StackError(
            f"the user postgres may not enter {closed[0]}: set FLEET_STATE to a folder that others may enter"
        )
