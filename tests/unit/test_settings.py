"""Settings: one file, overridden by the environment, secrets from files, and every mistake named."""

from __future__ import annotations

import os
from pathlib import Path

import pydantic
import pytest

from fleet_common.errors import UsageError
from fleet_common.settings import CONFIG_VARIABLE, BrokerSettings, OmeroSettings, Settings, load

WORKER = """
[broker]
host = "rabbit.example.org"
user = "worker"
password_file = "/run/secrets/broker"

[omero]
host = "omero.example.org"
import_slots = 2

[worker]
parallel_filesets = 3

[worker.lanes.phenix1]
shares = {hcs = ["phenix1/"]}
users = ["alice"]
groups = ["screening"]

[shares]
hcs = "/mnt/hcs"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A worker's settings."""
    path = tmp_path / "worker.toml"
    path.write_text(WORKER, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _no_fleet_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OMERO_FLEET_")]:
        monkeypatch.delenv(name)


def test_the_file_is_read(file: Path) -> None:
    """Groups, nested tables and paths."""
    settings = load(file)
    assert (settings.broker.host, settings.omero.import_slots, settings.worker.parallel_filesets) == (
        "rabbit.example.org",
        2,
        3,
    )
    assert settings.worker.lanes["phenix1"].shares == {"hcs": ("phenix1/",)}
    assert settings.shares == {"hcs": Path("/mnt/hcs")}


def test_what_is_not_set_has_its_default(file: Path) -> None:
    """TLS is verified by default, and a lane's allow-list names nobody."""
    settings = load(file)
    assert (settings.broker.tls, settings.broker.port) == (True, 5671)
    assert (settings.omero.verify_tls, settings.omero.port) == (True, 4064)
    assert (settings.worker.parallel_upload, settings.metrics.port, settings.log.level) == (4, 0, "info")
    assert settings.worker.lanes["phenix1"].targets == ("*",)


def test_the_file_may_be_named_by_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container has no arguments to spare."""
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    assert load().broker.host == "rabbit.example.org"


def test_an_argument_wins_over_the_environment_for_the_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is typed counts."""
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "other.toml"))
    assert load(file).broker.host == "rabbit.example.org"


def test_without_a_file_there_are_defaults() -> None:
    """Everything may come from the environment."""
    assert load().broker.host == "localhost"


@pytest.mark.parametrize(
    ("variable", "text", "found"),
    [
        ("OMERO_FLEET_BROKER__HOST", "other", lambda one: one.broker.host == "other"),
        ("OMERO_FLEET_BROKER__TLS", "false", lambda one: one.broker.tls is False),
        ("OMERO_FLEET_OMERO__PORT", "14064", lambda one: one.omero.port == 14064),
        ("OMERO_FLEET_METRICS__PORT", "9101", lambda one: one.metrics.port == 9101),
        ("OMERO_FLEET_SHARES", '{"hcs": "/elsewhere"}', lambda one: one.shares == {"hcs": Path("/elsewhere")}),
        ("OMERO_FLEET_SHARES__HCS", "/elsewhere", lambda one: one.shares == {"hcs": Path("/elsewhere")}),
    ],
)
def test_the_environment_wins_over_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, text: str, found: object
) -> None:
    """Value by value; its neighbours in the file stay."""
    monkeypatch.setenv(variable, text)
    settings = load(file)
    assert callable(found)
    assert found(settings)
    assert (settings.broker.user, settings.omero.import_slots) == ("worker", 2)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('[broker]\nhosst = "x"', "broker.hosst: Extra inputs are not permitted"),
        ('[brokre]\nhost = "x"', "brokre: Extra inputs are not permitted"),
        ("[broker]\nport = 0", "broker.port: "),
        ("[broker]\nport = 65536", "broker.port: "),
        ('[broker]\nport = "amqp"', "broker.port: "),
        ("[omero]\nimport_slots = 0", "omero.import_slots: "),
        ("[omero]\nimport_slots = 33", "omero.import_slots: "),
        ("[omero]\ncreate_slots = 9", "omero.create_slots: "),
        ('[omero]\nname = "Main server"', "omero.name: "),
        ("[worker]\nparallel_filesets = 0", "worker.parallel_filesets: "),
        ("[worker]\nparallel_upload = 33", "worker.parallel_upload: "),
        ("[worker]\ngrace_seconds = 0", "worker.grace_seconds: "),
        ("[worker.lanes.UPPER]", "worker.lanes.UPPER."),
        ('[worker.lanes.a]\nshare = "x"', "worker.lanes.a.share: Extra inputs are not permitted"),
        ('[log]\nlevel = "loud"', "log.level: "),
        ('[log]\nformat = "xml"', "log.format: "),
        ('[shares]\n"bad name" = "/x"', "shares.bad name."),
        ('[broker]\nmanagement_url = "https://admin:hunter2@rabbit:15671"', "broker.management_url: "),
        ('[broker]\nmanagement_url = "rabbit:15671"', "broker.management_url: "),
        ('[omero]\nweb_url = "https://u:hunter2@omero/web"', "omero.web_url: "),
    ],
)
def test_a_mistake_is_named_by_file_and_key(tmp_path: Path, line: str, named: str) -> None:
    """And its value, which may be a secret, is not repeated."""
    path = tmp_path / "settings.toml"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load(path)
    assert str(caught.value).startswith(f"settings ({path}): {named}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://rabbit:15671", "http://[::1]:15672/", "https://omero.example.org/web/"])
def test_an_address_without_credentials_is_fine(url: str) -> None:
    """With a port or a path."""
    assert (BrokerSettings(management_url=url).management_url, OmeroSettings(web_url=url).web_url) == (url, url)


def test_a_mistake_in_a_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error inside a known group is no silent default."""
    monkeypatch.setenv("OMERO_FLEET_BROKER__HOSST", "x")
    with pytest.raises(UsageError, match=r"broker\.hosst: Extra inputs are not permitted"):
        load()


@pytest.mark.parametrize(
    ("variable", "group"),
    [
        ("OMERO_FLEET_BROKRE__HOST", "brokre"),
        ("OMERO_FLEET_SHAERS", "shaers"),
        ("OMERO_FLEET_BROKER_HOST", "broker_host"),
        ("OMERO_FLEET__BROKER__HOST", "_broker"),
        ("omero_fleet_brokre__host", "brokre"),
        ("OMERO_FLEET_CONFIG__FILE", "config"),
        ("OMERO_FLEET_", ""),
    ],
)
def test_a_variable_of_no_group_is_named_with_the_groups(
    monkeypatch: pytest.MonkeyPatch, variable: str, group: str
) -> None:
    """A typing error in the group is no silent default either; the value, perhaps a secret, is not repeated."""
    monkeypatch.setenv(variable, "hunter2")
    with pytest.raises(UsageError) as caught:
        load()
    assert str(caught.value) == (
        f"settings: {variable} is no setting: the group {group!r} is none of OMERO_FLEET_BROKER, OMERO_FLEET_OMERO, "
        "OMERO_FLEET_WORKER, OMERO_FLEET_SCAN, OMERO_FLEET_IN_PLACE, OMERO_FLEET_PRODUCER, OMERO_FLEET_WATCH, "
        "OMERO_FLEET_METRICS, OMERO_FLEET_EXPORTER, OMERO_FLEET_NOTIFY, OMERO_FLEET_LOG, OMERO_FLEET_SHARES"
    )


@pytest.mark.parametrize("variable", ["OMERO_FLEETS", "OMERO_FLEE", "OMERO_HOME", "MY_OMERO_FLEET_X", "omero_fleet"])
def test_variables_of_others_are_nobodys_business(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """The environment is shared."""
    monkeypatch.setenv(variable, "x")
    assert load().broker.host == "localhost"


def test_a_variable_may_be_written_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the settings library takes it."""
    monkeypatch.setenv("omero_fleet_broker__host", "other")
    assert load().broker.host == "other"


def test_a_variable_that_should_be_json_and_is_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a traceback."""
    monkeypatch.setenv("OMERO_FLEET_SHARES", "/mnt/hcs")
    with pytest.raises(UsageError, match=r"shares.*holds JSON"):
        load()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With its whole path."""
    with pytest.raises(UsageError, match=r"No such file or directory: '.*/gone\.toml'"):
        load(tmp_path / "gone.toml")


def test_a_file_that_is_no_toml_is_named_with_the_place(tmp_path: Path) -> None:
    """Line and column."""
    path = tmp_path / "broken.toml"
    path.write_text("[broker]\nhost = \n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"broken\.toml.*line 2"):
        load(path)


# --- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["broker", "omero"])
def test_a_password_in_the_file_is_refused(tmp_path: Path, group: str) -> None:
    """Files are copied and committed; the text does not repeat it."""
    path = tmp_path / "settings.toml"
    path.write_text(f'[{group}]\npassword = "hunter2"\n', encoding="utf-8")
    with pytest.raises(UsageError, match=f"{group}.password does not belong in the file") as caught:
        load(path)
    assert "hunter2" not in str(caught.value)


def test_a_password_is_read_from_its_file_without_the_line_end(tmp_path: Path) -> None:
    """Editors add one; a leading space is part of the password."""
    secret = tmp_path / "secret"
    secret.write_text(" hunter2 \r\n", encoding="utf-8")
    account = BrokerSettings(user="worker", password_file=secret)
    assert account.read_password().get_secret_value() == " hunter2"


def test_a_password_from_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes may set either."""
    monkeypatch.setenv("OMERO_FLEET_BROKER__PASSWORD", "from-env")
    monkeypatch.setenv("OMERO_FLEET_BROKER__PASSWORD_FILE", str(tmp_path / "gone"))
    assert load().broker.read_password().get_secret_value() == "from-env"


def test_a_missing_password_says_what_to_set() -> None:
    """And for which account."""
    with pytest.raises(UsageError, match=r"no password for the account 'worker': set broker\.password_file"):
        BrokerSettings(user="worker").read_password()


def test_without_any_settings_people_learn_how_to_name_them() -> None:
    """The first command that a newcomer tries knows no account at all."""
    with pytest.raises(UsageError, match=r"name a settings file with --config.*broker\.user and broker\.password_file"):
        BrokerSettings().read_password()


def test_a_password_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """With the account that needs it."""
    with pytest.raises(UsageError, match=r"account 'importer' cannot be read.*/gone'"):
        OmeroSettings(user="importer", password_file=tmp_path / "gone").read_password()


@pytest.mark.parametrize("show", [repr, str, lambda one: one.model_dump_json(), lambda one: str(one.model_dump())])
def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch, show: object) -> None:
    """However settings are printed."""
    monkeypatch.setenv("OMERO_FLEET_BROKER__PASSWORD", "hunter2")
    monkeypatch.setenv("OMERO_FLEET_OMERO__PASSWORD", "hunter3")
    settings = load()
    assert callable(show)
    assert "hunter" not in show(settings)
    assert settings.omero.read_password().get_secret_value() == "hunter3"


def test_settings_cannot_be_changed() -> None:
    """Every part of a process sees the same."""
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        setattr(Settings(), "shares", {})  # noqa: B010  the type checker refuses the plain form already
