"""The chart's notifications: off unless asked for, one pod, its secrets as files, and a memory that outlives it."""

from __future__ import annotations

from pathlib import Path

import helm_python
import pytest

from fleet_common.notify.service import channels_of
from fleet_common.notify.settings import NotifySettings
from support.chart import case, component_of, container_of, merged, objects, one_of, pod_of, rendered, settings_of


def test_nobody_is_told_anything_unasked() -> None:
    """Given the least values, then there is no pod for it."""
    assert "notify" not in {component_of(one) for one in objects(case("minimal"))}


def test_it_runs_once_and_without_omero() -> None:
    """Two would tell everything twice; it needs no more than the producers' image."""
    spec = one_of(case("full"), "Deployment", "notify")["spec"]
    container = container_of(case("full"), "notify")
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    assert container["args"] == ["notify"]
    assert "producer" in container["image"]


def test_settings_and_secrets_come_together_in_its_file() -> None:
    """Given a mail server and a webhook, then the fleet would use both; no secret stands in the settings."""
    made = NotifySettings.model_validate(settings_of(case("full"), "notify")["notify"])
    assert (made.smtp_host, made.mail_to, made.gather_seconds) == (
        "mail.example.org",
        ("imaging-facility@example.org",),
        60,
    )
    folder = Path("/run/secrets/omero-import-fleet/notify")
    assert (made.smtp_password_file, made.webhook_url_file, made.webhook_token_file) == (
        folder / "smtp-password",
        folder / "webhook-url",
        folder / "webhook-token",
    )


def test_what_was_told_lies_on_a_volume_that_outlives_the_release() -> None:
    """Given the chart's own volume, then it is kept, and the state file lies in it."""
    claim = one_of(case("full"), "PersistentVolumeClaim", "notify")
    (volume,) = (one for one in pod_of(case("full"), "notify")["volumes"] if one["name"] == "told")
    (mount,) = (one for one in container_of(case("full"), "notify")["volumeMounts"] if one["name"] == "told")
    state = Path(settings_of(case("full"), "notify")["notify"]["state_file"])
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert claim["spec"]["storageClassName"] == "fast"
    assert Path(mount["mountPath"]) in state.parents


def test_a_volume_that_is_there_already_is_used() -> None:
    """And none is made."""
    values = merged(case("full"), {"notify": {"storage": {"existingClaim": "told"}}})
    (volume,) = (one for one in pod_of(values, "notify")["volumes"] if one["name"] == "told")
    assert volume["persistentVolumeClaim"]["claimName"] == "told"
    claims = [one for one in objects(values) if one["kind"] == "PersistentVolumeClaim"]
    assert "notify" not in map(component_of, claims)


def test_a_mail_server_without_a_password_needs_no_secret() -> None:
    """Given a relay of the house, then only the broker's password is mounted."""
    change = {"notify": {"channelSecret": "", "smtpPasswordKey": "", "webhookUrlKey": "", "webhookTokenKey": ""}}
    values = merged(case("full"), change)
    (volume,) = (one for one in pod_of(values, "notify")["volumes"] if one["name"] == "secrets")
    assert "fleet-notify" not in {source["secret"]["name"] for source in volume["projected"]["sources"]}
    made = NotifySettings.model_validate(settings_of(values, "notify")["notify"])
    assert list(channels_of(made)) == ["mail"]


def test_without_the_brokers_password_it_is_not_installed() -> None:
    """The message names the value."""
    with pytest.raises(helm_python.HelmError, match=r"notify\.existingSecret"):
        rendered(merged(case("full"), {"notify": {"existingSecret": ""}}))
