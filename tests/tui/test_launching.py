"""Who answers the launch dialog: on real files, a real store and supervisor, an account like RunPod's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from engine.controller import Controller, Pods
from engine.errors import BadInput, BadSpec
from engine.home import Home
from engine.job.spec import JobSpec
from engine.pods.provider import Offer
from engine.store.sqlite import SQLiteStore
from tests import standin
from tests.emulators.runpod import Clock, Emulator
from tui import catalog
from tui.launching import EngineLaunching

SPEC = "name: mine\nmodel: {name: m, build: {}}\ndataset: {path: d.jsonl}\n"


class Kept(dict[str, object]):
    """What is remembered."""

    def recall(self, key: str, default: object = None) -> object:
        return self.get(key, default)

    def remember(self, key: str, value: object) -> None:
        self[key] = value


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the app was opened in."""
    there = tmp_path / "work"
    there.mkdir()
    rows = ({"prompt": f"{at}?", "completion": f"{at}!"} for at in range(20))
    (there / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (there / "mine.yaml").write_text(SPEC)
    monkeypatch.chdir(there)
    return there


@pytest.fixture
async def launching(home: Path, folder: Path) -> AsyncIterator[EngineLaunching]:
    place = Home(home)
    place.create()
    store = SQLiteStore(place.database)
    controller = Controller(store, place, Pods(place, standin.argv(steps=3)))

    async def there() -> Controller:
        return controller

    yield EngineLaunching(place, Kept(), there)
    await controller.close()
    store.close()


async def test_files_and_templates_are_listed_and_paths_go_on(
    launching: EngineLaunching, folder: Path
) -> None:
    found = [(source.name, source.kind) for source in await launching.sources()]
    assert found[0] == ("mine.yaml", "file") and ("sft_standard", "template") in found
    (folder / "sub").mkdir()
    assert await launching.paths("mi") == "mine.yaml"
    assert await launching.paths(f"{folder}/s") == f"{folder}/sub/"
    assert await launching.paths("nothing/") is None


async def test_a_file_without_mistakes_is_launched_as_it_is(launching: EngineLaunching, folder: Path) -> None:
    draft = await launching.begin("mine.yaml")
    checked = await launching.check(draft)
    assert checked.ready
    assert checked.data[0].startswith("20 rows of format prompt_completion, all fit for sft")
    assert checked.preview[0] == (1, (("prompt", "0?"), ("completion", "0!")))
    assert any(line.startswith("GPU memory: about") for line in checked.estimate)
    begun: list[str] = []
    await launching.launch(draft.put("tags", "a b"), None, begun.append)
    (job_id,) = begun
    controller = await launching._controller()
    (job,) = await controller.settle([job_id])
    assert (job.name, job.tags, str(job.status)) == ("mine", ("a", "b"), "completed")
    made = JobSpec.from_json(launching._home.job(job_id).spec)
    assert made == JobSpec.load(folder / "mine.yaml", {"tags": ["a", "b"]})
    assert (await launching.sources())[0].name == "mine.yaml"


async def test_broken_rows_are_told_with_their_numbers_and_read_again_when_mended(
    launching: EngineLaunching, folder: Path
) -> None:
    good = (folder / "d.jsonl").read_text()
    (folder / "d.jsonl").write_text(good + '{"prompt": "x"}\nno json\n')
    draft = await launching.begin("mine.yaml")
    checked = await launching.check(draft)
    assert not checked.ready and "data" in checked.mistakes
    assert any("row 21" in problem for problem in checked.problems)
    assert any("row 22" in problem for problem in checked.problems)
    (folder / "d.jsonl").write_text(good)
    assert (await launching.check(draft)).ready
    (folder / "d.jsonl").unlink()
    assert "data" in (await launching.check(draft)).mistakes


@pytest.mark.parametrize(
    ("text", "words"),
    [("{ not yaml", "is not YAML"), ("- a", "must be a mapping"), ("template: no", "no such template")],
)
async def test_a_file_that_is_no_spec_is_refused(
    launching: EngineLaunching, folder: Path, text: str, words: str
) -> None:
    (folder / "bad.yaml").write_text(text)
    with pytest.raises(BadSpec, match=words):
        await launching.begin("bad.yaml")
    with pytest.raises(BadSpec, match="neither a file nor a template"):
        await launching.begin("no.yaml")


async def test_a_file_with_mistakes_is_begun_with_and_they_are_told(
    launching: EngineLaunching, folder: Path
) -> None:
    (folder / "bad.yaml").write_text(SPEC + "limits: {max_hours: -3}\ntraining: {epoch: 2}\n")
    checked = await launching.check(await launching.begin("bad.yaml"))
    assert "max_hours" in checked.mistakes and "did you mean epochs?" in checked.others[0]


async def test_the_file_that_is_written_is_the_spec_that_would_be_launched(
    launching: EngineLaunching, folder: Path
) -> None:
    draft = (await launching.begin("mine.yaml")).put("max_hours", "2")
    said = await launching.write(draft, "new.yaml", replacing=False)
    assert str(folder / "new.yaml") in said
    assert JobSpec.load(folder / "new.yaml").limits.max_hours == 2
    with pytest.raises(BadInput, match="is there already"):
        await launching.write(draft, "mine.yaml", replacing=False)
    assert (folder / "mine.yaml").read_text() == SPEC
    with pytest.raises(BadSpec):
        await launching.write(draft.put("name", ""), "other.yaml", replacing=False)
    assert not (folder / "other.yaml").exists()


async def test_price_stock_and_worst_cost_are_those_of_the_command_line(
    launching: EngineLaunching, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = (await launching.begin("mine.yaml")).put("place", "runpod").put("max_cost", "3")
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    assert "RUNPOD_API_KEY" in (await launching.offers(draft)).trouble
    with Emulator(clock=Clock(speed=1.0)) as account:
        monkeypatch.setenv("RUNPOD_API_KEY", account.account.key)
        monkeypatch.setenv("RUNPOD_API_BASE_URL", account.url)
        offered = await launching.offers(draft.put("gpu", "L40S").put("gpu_count", "2"))
        rows = dict(offered.rows)
        assert "2 × L40S" in rows["machine"] and "stock" in rows["machine"]
        assert rows["price"] == "2 × $0.79 = $1.58 an hour"
        assert rows["worst cost"] == "$3.00"
        assert not account.account.pods
        assert "no-such-gpu" in (await launching.offers(draft.put("gpu", "no-such-gpu"))).trouble
        listed = {gpu.name: gpu.about for gpu in await launching.gpus(draft)}
        assert "48 GB" in listed["L40S"] and "$0.79/h" in listed["L40S"] and "stock" in listed["L40S"]
        secure = draft.on(replace(draft, base={**draft.base, "pod": {"rent": {"clouds": ["secure"]}}}))
        assert not any("community" in gpu.about for gpu in await launching.gpus(secure))
        assert await launching.gpus(draft.put("place", "local")) == ()


def an_offer(name: str, price: float, cloud: str, stock: str) -> Offer:
    return Offer(
        gpu_id=name, gpu_name=name, memory_gb=24, price_per_hour=price, stock=stock, cloud=cloud, max_count=8
    )  # fmt: skip


def test_gpus_are_listed_by_price_and_those_out_of_stock_last() -> None:
    offers = [
        an_offer("dear", 3, "secure", "high"),
        an_offer("gone", 0.1, "secure", "none"),
        an_offer("cheap", 0.4, "secure", "low"),
        an_offer("cheap", 0.2, "community", "unknown"),
    ]
    assert [(gpu.name, gpu.about) for gpu in catalog.gpus(offers, ("secure", "community"))] == [
        ("cheap", "24 GB  $0.20/h community, stock unknown · $0.40/h secure, low stock"),
        ("dear", "24 GB  $3.00/h secure, high stock"),
        ("gone", "24 GB  $0.10/h secure, out of stock"),
    ]


async def test_nothing_is_launched_that_is_not_sound(launching: EngineLaunching) -> None:
    begun: list[str] = []
    draft = (await launching.begin("mine.yaml")).put("max_hours", "x")
    with pytest.raises(BadSpec):
        await launching.launch(draft, None, begun.append)
    rented = (await launching.begin("mine.yaml")).put("place", "runpod").put("max_hours", "1")
    with pytest.raises(BadInput, match="confirmed"):
        await launching.launch(rented, None, begun.append)
    assert not begun


async def test_at_the_apps_end_a_launch_has_the_time_to_end_what_it_rented(home: Path, folder: Path) -> None:
    class Renting:
        """A controller that rents for ever, and needs a moment to end what it rented."""

        begun, ended = asyncio.Event(), asyncio.Event()

        async def launch(self, spec: JobSpec, **_: object) -> None:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.05)
                self.ended.set()

    renting = Renting()

    async def there() -> Controller:
        return cast(Controller, renting)

    Home(home).create()
    launching = EngineLaunching(Home(home), Kept(), there)
    waiting = asyncio.create_task(launching.launch(await launching.begin("mine.yaml"), None, print))
    await renting.begun.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not renting.ended.is_set()
    await launching.close()
    assert renting.ended.is_set()
