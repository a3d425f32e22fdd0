"""What a supervisor is told: alerts.yaml with its secrets in place, and a token of a hosted store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from engine.controller import Controller, alerting
from engine.controller.pods import Pods
from engine.controller.preparation import new_job
from engine.controller.reporting import Reporting
from engine.errors import BadInput, BadSpec, HostedDown
from engine.home import Home
from engine.job.events import EventType, Status
from engine.job.spec import JobSpec
from engine.store.sqlite import SQLiteStore
from tests import standin
from tests.emulators.receiver import Receiver
from tests.processes import events_of

SECRET = "T0PSECRET-0123456789"
GOOD = """
channels:
  - name: team
    kind: slack
    url: ${HOOK}
    severity: warning
  - {name: mine, kind: ntfy, url: "https://ntfy.example/podium", secret: "${NTFY}", types: [job_failed]}
quiet: {from: "22:00", to: "7:00", zone: Asia/Kolkata}
"""


@pytest.fixture
def here(home: Path) -> Home:
    found = Home(home)
    found.create()
    return found


def write(here: Home, text: str) -> None:
    alerting.place(here).write_text(text)


def test_secrets_come_from_the_environment_and_a_pod_gets_all_that_it_needs(here: Home) -> None:
    write(here, GOOD)
    values = {"HOOK": f"https://hooks.example/{SECRET}", "NTFY": SECRET}
    told = json.loads(alerting.for_pod(alerting.settings_of(here), values))
    assert [channel["url"] for channel in told["channels"]] == [values["HOOK"], "https://ntfy.example/podium"]
    assert told["channels"][1]["secret"] == SECRET and told["channels"][1]["types"] == ["job_failed"]
    assert told["quiet"] == {"start": 22 * 60, "end": 7 * 60, "offset": 330, "errors": True}
    assert told["dedupe_minutes"] == 60


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("channels: [", "no YAML, line 1"),
        (f"channels: {{{SECRET}: 1}}", "channels: Input should be a valid"),
        (
            f"chanels: []\nquiet: {{from: '25:00', to: {SECRET}}}",
            "unknown key chanels (did you mean channels?)",
        ),
        (f"channels: [{{name: a, kind: {SECRET}, url: {SECRET}}}]", "channels.1.kind"),
        (f"channels: [{{name: a, url: x}}, {{name: a, url: {SECRET}}}]", "two channels are called 'a'"),
        ("channels: [{name: a}]", "channels.1.url: Field required"),
    ],
)
def test_every_mistake_is_said_with_its_place_and_without_its_value(here: Home, text: str, said: str) -> None:
    write(here, text)
    with pytest.raises(BadSpec) as raised:
        alerting.settings_of(here)
    assert said in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["${UNSET_VARIABLE}", f"http://example.com/{SECRET}", f"ftp://x/{SECRET}", SECRET]
)
def test_an_address_that_is_missing_or_in_the_open_is_refused_without_naming_it(here: Home, url: str) -> None:
    write(here, f"channels: [{{name: a, url: '{url}'}}]")
    with pytest.raises(BadInput, match="channel a") as raised:
        alerting.channels_of(alerting.settings_of(here), {})
    assert SECRET not in str(raised.value)


class HostedStore(SQLiteStore):
    """A store that grants tokens, as long as its server is there."""

    down = False

    def grant(self, job_id: str, hours: float) -> Mapping[str, str]:
        if self.down:
            raise HostedDown("the hosted store can't be reached")
        return {"PODIUM_JOB_TOKEN": f"{job_id} for {hours:g} h"}

    def revoke(self, job_id: str) -> None:
        self.revoked = job_id


def spec_on(folder: Path) -> JobSpec:
    data = folder / "rows.jsonl"
    data.write_text("".join(f'{{"prompt": "{number}", "completion": "b"}}\n' for number in range(8)))
    told = {"name": "x", "model": {"name": "m"}, "dataset": {"path": str(data), "train_split": 0.5}}
    return JobSpec.parse({"template": "sft_standard", **told}, "test")


def test_a_job_starts_without_what_can_not_be_had_and_says_so(here: Home, tmp_path: Path) -> None:
    write(here, "nonsense: 1")
    store = HostedStore(here.database)
    job = store.add(new_job(here, spec_on(tmp_path)))
    reporting = Reporting(store, here)
    assert reporting.environment(job.id) == {"PODIUM_JOB_TOKEN": f"{job.id} for 336 h"}
    assert "no alerts are sent" in reporting.trouble[job.id]
    store.down = True
    assert reporting.environment(job.id) == {}
    assert "the hosted store can't be reached" in reporting.trouble[job.id]
    store.close()


async def test_a_local_jobs_supervisor_alerts_and_reports_and_its_token_is_revoked_at_the_end(
    here: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as there:
        monkeypatch.setenv("HOOK", f"{there.url}/{SECRET}")
        write(here, "channels: [{name: team, kind: slack, url: '${HOOK}'}]")
        store = HostedStore(here.database)
        controller = Controller(store, here, Pods(here, standin.argv(steps=3)))
        job = await controller.launch(spec_on(tmp_path))
        [ended] = await asyncio.wait_for(controller.settle([job.id]), 60)
        assert ended.status == Status.COMPLETED
        told = [got.json()["text"] for got in there.got]
        assert (
            len(told) == 2
            and told[0].startswith("job started · x")
            and told[1].startswith("job completed · x")
        )
        assert store.revoked == job.id
        deliveries = store.events(job.id, (EventType.DELIVERY,))
        assert [event.data["alert"] for event in deliveries] == ["job_started", "job_completed"]
        assert len(events_of(here.job(job.id).events)) == len(store.events(job.id))
        await controller.close()
        store.close()
        for file in here.path.rglob("*"):
            assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
