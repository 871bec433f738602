"""Settings of all parts, grouped by role: from one TOML file, overridden by the environment, with secrets from files.

The file is named by ``--config`` or ``OMERO_FLEET_CONFIG``. Every field can be overridden by a variable with two
underscores between its parts: ``OMERO_FLEET_BROKER__HOST``. Unknown keys and unknown groups of variables are errors.
Nothing is read when this module is imported.
"""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import pydantic
from pydantic import Field, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from fleet_common.errors import UsageError
from fleet_common.inplace import InPlaceSettings
from fleet_common.messages import Name, explain
from fleet_common.notify.settings import NotifySettings
from fleet_common.settinggroup import Group
from fleet_common.tiers import RETRY_TIERS_SECONDS
from fleet_common.watching import WatchSettings

PREFIX: Final = "OMERO_FLEET_"
CONFIG_VARIABLE: Final = f"{PREFIX}CONFIG"
Port = Annotated[int, Field(ge=1, le=65535)]
WebAddress = Annotated[str, Field(pattern=r"^https?://[^\s/@]+(?:/[^\s@]*)?$")]
"""An address without credentials: those belong into password files, and this is shown by ``config show``."""


class _Account(Group):
    service: ClassVar[str]
    user: str = ""
    """Name of the account."""
    password: SecretStr | None = None
    """The password itself; only from the environment, never from the file. Prefer ``password_file``."""
    password_file: Path | None = None
    """A file that holds the password; white space at its end is ignored."""

    def read_password(self) -> SecretStr:
        """The password, from its file or the environment.

        Raises:
            UsageError: There is none, or its file cannot be read.
        """
        if self.password is not None:
            return self.password
        if self.password_file is None:
            raise UsageError(self._missing())
        try:
            return SecretStr(self.password_file.read_text(encoding="utf-8").rstrip())
        except OSError as error:
            raise UsageError(f"the password of the account {self.user!r} cannot be read: {error}") from error

    def _missing(self) -> str:
        if self.user:
            return f"no password for the account {self.user!r}: set {self.service}.password_file in the settings"
        return (
            f"no account of {self.service} is set: name a settings file with --config or {CONFIG_VARIABLE}, with "
            f"{self.service}.user and {self.service}.password_file in it"
        )


class BrokerSettings(_Account):
    """How to reach RabbitMQ."""

    service = "broker"
    host: str = "localhost"
    """Host name; with TLS it must be one that the broker's certificate names."""
    port: Port = 5671
    """5671 is AMQPS, 5672 plain AMQP."""
    vhost: str = "/"
    """The virtual host that holds the fleet's queues."""
    tls: bool = True
    """Whether to use TLS and verify the broker's certificate and name. False only on a trusted loopback or mesh."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    retry_tiers_seconds: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = RETRY_TIERS_SECONDS
    """The delays after which a request comes back; one queue each, the same for all workers and the topology."""
    management_url: WebAddress | None = None
    """Address of the management API, for ``topology verify``; without it policies and permissions are not compared."""


class OmeroSettings(_Account):
    """How to reach OMERO.server, and how much of it the fleet may use."""

    service = "omero"
    host: str = "localhost"
    """Host name of the server or its load balancer."""
    port: Port = 4064
    """Port of the TLS router."""
    verify_tls: bool = True
    """Whether to verify the server's certificate and name. False is for trials: anybody in between can read along."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    tls: bool = True
    """Whether all goes over TLS. Without it only the login does, and files and session go over the server's plain port,
    as the official importer sends them: only where nobody else can listen."""
    name: Name = "omero"
    """The name under which all workers of one server share its slots."""
    import_slots: Annotated[int, Field(ge=1, le=32)] = 4
    """Imports in the server at once, over the whole fleet: at most min(min_threads, background_threads) - 1."""
    create_slots: Annotated[int, Field(ge=1, le=8)] = 1
    """Calls of importFileset at once, over the whole fleet; 2 x import + 2 x create must fit the server's pool."""
    upload_slots: Annotated[int, Field(ge=1, le=32)] = 32
    """Files being sent at once, over the whole fleet."""
    min_free_bytes: Annotated[int, Field(ge=0)] = 1_000_000_000
    """With less free space in OMERO's data folder nothing is taken."""
    web_url: WebAddress | None = None
    """Base address of OMERO.web, for links in outcomes."""


class LaneRule(Group):
    """What requests of one lane may ask for; anything else is refused before OMERO is called."""

    shares: dict[Name, tuple[str, ...]] = Field(default_factory=dict)
    """Path prefixes by share, for example ``{hcs = ["phenix1/"]}``; an empty prefix allows the whole share."""
    users: tuple[str, ...] = ()
    """OMERO users, with ``*`` and ``?`` as wildcards. Administrators are refused in any case."""
    groups: tuple[str, ...] = ()
    """OMERO groups, with ``*`` and ``?`` as wildcards."""
    targets: tuple[str, ...] = ("*",)
    """Targets in OMERO's grammar, with ``*`` and ``?`` as wildcards, for example ``Screen:*``."""


class WorkerSettings(Group):
    """One worker."""

    name: str = Field(default_factory=socket.gethostname)
    """Shown in events and logs; on Kubernetes the pod's name."""
    parallel_filesets: Annotated[int, Field(ge=1, le=64)] = 2
    """Requests in work at once, as in ``omero import --parallel-fileset``."""
    parallel_upload: Annotated[int, Field(ge=1, le=32)] = 4
    """Files in flight at once, shared by all requests in work, as in ``omero import --parallel-upload``."""
    lanes: dict[Name, LaneRule] = Field(default_factory=dict)
    """The lanes that this worker serves, with their allow-lists."""
    fleet_users: tuple[str, ...] = ("worker", "operator")
    """Broker users of the fleet: only they may publish a copy in somebody else's name."""
    grace_seconds: Annotated[float, Field(gt=0)] = 3600.0
    """How long a stopping worker finishes what it has begun; keep it below the pod's termination grace period."""
    retry_jitter: Annotated[float, Field(ge=0, le=0.9)] = 0.2
    """A retry may come back earlier than its tier says by up to this part of it; never before one that waits longer."""
    sweep_seconds: Annotated[float, Field(ge=0)] = 600.0
    """How often one worker of the fleet removes debris of dead attempts from OMERO; 0 never does."""
    sampled_planes: Annotated[int, Field(ge=0, le=1000)] = 8
    """Planes of a new plate that are read back, to warn of blank ones and of copies of their neighbour; 0 for none."""
    import_deadline_seconds: Annotated[float, Field(gt=0)] = 6 * 86400.0
    """The longest server side import; must stay below the queues' consumer time-out of 7 days."""
    pod_deletion_cost: bool = False
    """Whether to tell Kubernetes how many requests are in work, so that a fleet that shrinks loses idle pods first.
    Needs an account that may patch pods; ``name`` must be the pod's."""


class ScanSettings(Group):
    """Bio-Formats in the worker, for files that no plate format knows; see ``docs/explanation/scan.md``."""

    jar: Path | None = None
    """``bioformats_package.jar``, best of the server's version; without it a worker cannot do scans. Needs a JDK."""
    memory_mb: Annotated[int, Field(ge=64, le=65536)] = 512
    """Heap of the Java process, in MiB."""
    answer_seconds: Annotated[float, Field(gt=0, le=3600)] = 300.0
    """How long the reader may take for one file before it is killed."""
    network: Literal["none", "any"] = "none"
    """``none``: a worker that cannot keep the reader from the network does not start; ``any``: it scans even so."""


class ProducerSettings(Group):
    """One acquisition host."""

    lane: Name | None = None
    """The lane to publish to; by default the name of the broker user."""
    instrument: str | None = None
    """Name of the instrument, for provenance."""
    host: str = Field(default_factory=socket.gethostname)
    """Name of this host, for provenance."""
    spool: Path | None = None
    """Folder that keeps requests until their outcome is known, on a local disk, one for each broker. By default
    ``omero-fleet/spool/VHOST@HOST`` below ``XDG_STATE_HOME``, ``~/.local/state``, or on Windows ``%LOCALAPPDATA%``."""
    spool_quota_bytes: Annotated[int, Field(gt=0)] = 1_000_000_000
    """What the spool may hold in all; beyond that nothing is published. A request has about 1 kB."""


class MetricsSettings(Group):
    """Where metrics and health are served."""

    host: str = "127.0.0.1"
    """Address to listen on; ``0.0.0.0`` in a container."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of ``/metrics``, ``/healthz`` and ``/readyz``; 0 serves nothing."""


class ExporterSettings(Group):
    """The exporter, which shows the whole fleet to Prometheus."""

    interval_seconds: Annotated[float, Field(ge=1, le=300)] = 15.0
    """How often RabbitMQ and OMERO are asked; what was seen four intervals ago is not shown any more."""
    history_seconds: Annotated[float, Field(ge=0)] = 7 * 86400.0
    """How much of the event log is read at the start: requests and producers that were last heard of earlier are not
    shown. A producer that is silent for a week is forgotten in any case."""


class LogSettings(Group):
    """How to log."""

    level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    """The lowest level that is written."""
    format: Annotated[str, Field(pattern="^(json|console)$")] = "console"
    """``json`` for a log collector, ``console`` for people."""


class Settings(BaseSettings):
    """All groups."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__", use_attribute_docstrings=True
    )

    broker: BrokerSettings = BrokerSettings()
    omero: OmeroSettings = OmeroSettings()
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    scan: ScanSettings = ScanSettings()
    in_place: InPlaceSettings = InPlaceSettings()
    producer: ProducerSettings = Field(default_factory=ProducerSettings)
    watch: WatchSettings = WatchSettings()
    metrics: MetricsSettings = MetricsSettings()
    exporter: ExporterSettings = ExporterSettings()
    notify: NotifySettings = NotifySettings()
    log: LogSettings = LogSettings()
    shares: dict[Name, Path] = Field(default_factory=dict)
    """Where each share is mounted here."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the signature is pydantic-settings'
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the signature is pydantic-settings'
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over what :func:`load` read from the file."""
        return (env_settings, init_settings)

    def with_metrics_port(self, port: int | None) -> Self:
        """The same with another port of ``/metrics``, as given on the command line; None leaves it."""
        if port is None:
            return self
        return self.model_copy(update={"metrics": self.metrics.model_copy(update={"port": port})})


def load(file: Path | None = None) -> Settings:
    """The effective settings.

    Args:
        file: The TOML file; by default the one that ``OMERO_FLEET_CONFIG`` names, or none.

    Raises:
        UsageError: The file cannot be read, a value is wrong, or a group unknown; the text names file and key.
    """
    _check_variables(os.environ)
    file = file or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    try:
        return Settings(**(_read(file) if file else {}))
    except pydantic.ValidationError as error:
        raise UsageError(f"settings{f' ({file})' if file else ''}: {explain(error)}") from error
    except SettingsError as error:
        raise UsageError(f"settings: {error}; a variable for a whole group or table holds JSON") from error


def _check_variables(names: Iterable[str]) -> None:
    """Refuse a variable of an unknown group: pydantic-settings does not look at it, and the default would hold."""
    for name in sorted(names):
        group = name.upper().removeprefix(PREFIX).partition("__")[0].lower()
        if name.upper().startswith(PREFIX) and name.upper() != CONFIG_VARIABLE and group not in Settings.model_fields:
            known = ", ".join(f"{PREFIX}{field.upper()}" for field in Settings.model_fields)
            raise UsageError(f"settings: {name} is no setting: the group {group!r} is none of {known}")


def _read(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"settings ({file}): {error}") from error
    for group, content in values.items():
        if isinstance(content, dict) and "password" in content:
            raise UsageError(f"{file}: {group}.password does not belong in the file: name a password_file instead")
    return values
