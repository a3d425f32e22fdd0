"""The launch dialog: chosen, typed, told what is wrong, priced, confirmed, launched, written, kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from tests.tui.fabricated import STATES, FakeDesk, live
from tests.tui.launches import OFFER, FakeLaunching
from tests.tui.steps import press, settled, until
from tui.app import PodiumApp
from tui.draft import Draft
from tui.launch_answers import Checked, Offered
from tui.screens.dialogs import Confirm
from tui.screens.entry import Entry
from tui.screens.launch import LaunchDialog
from tui.widgets.draft_form import DraftForm
from tui.widgets.gpu_list import GpuList

SMALL, USUAL = (80, 24), (120, 40)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody types here for as long as people do."""
    monkeypatch.setattr("tui.screens.launch.PAUSE", 0.02)


class Played:
    """The app with the dialog open."""

    def __init__(self, app: PodiumApp, desk: FakeDesk, pilot: Pilot[None]) -> None:
        self.app, self.desk, self.pilot = app, desk, pilot

    @property
    def asked(self) -> FakeLaunching:
        return self.desk.launching

    @property
    def dialog(self) -> LaunchDialog:
        (dialog,) = (screen for screen in self.app.screen_stack if isinstance(screen, LaunchDialog))
        return dialog

    @property
    def open(self) -> bool:
        return any(isinstance(screen, LaunchDialog) for screen in self.app.screen_stack)

    @property
    def form(self) -> DraftForm:
        return self.dialog.query_one(DraftForm)

    @property
    def told(self) -> str:
        return str(self.dialog.query_one("#told", Static).render())

    async def press(self, *keys: str) -> None:
        await press(self.pilot, *keys)

    async def type(self, field: str, text: str) -> None:
        """Replace what stands in a field."""
        entry = self.form.field(field)
        entry.focus()
        await self.pilot.pause()
        entry.value = text
        await settled(self.pilot)

    def mistake(self, field: str) -> str:
        place = self.form.query_one(f"#mistake-{field}", Static)
        return str(place.render()) if place.display else ""


@asynccontextmanager
async def playing(*keys: str, desk: FakeDesk | None = None) -> AsyncIterator[Played]:
    desk = desk or FakeDesk(live)
    app = PodiumApp(desk)
    async with app.run_test(size=USUAL) as pilot:
        await settled(pilot)
        played = Played(app, desk, pilot)
        await played.press(*keys)
        yield played


LOCAL = ("n", *"sft_", "enter")
RENTED = ("n", *"supp", "enter")


async def test_n_opens_it_on_every_screen_and_esc_closes_it() -> None:
    async with playing() as played:
        for screen in "123":
            await played.press(screen, "n")
            assert played.open
            await played.press("escape")
            assert not played.open


async def test_what_there_is_to_start_from_is_listed_searched_and_chosen() -> None:
    async with playing("n") as played:
        assert played.dialog._sources._keys[0] == "support.yaml"
        await played.press("down", "down", "down", "enter")
        assert played.dialog.draft.source == "sft_standard"
        assert played.form.field("model").value == "meta-llama/Llama-3.2-1B"
        # Another one, over what is there: what was typed stays.
        await played.type("name", "mine")
        await played.type("source", "supp")
        await played.press("enter")
        assert played.dialog.draft.source == "support.yaml"
        assert played.form.field("name").value == "mine"
        assert played.form.field("model").value == "Qwen/Qwen2.5-7B-Instruct"


async def test_a_source_that_does_not_exist_is_told_at_its_field() -> None:
    async with playing("n", *"/no/such.yaml", "tab") as played:
        assert "neither a file nor a template" in played.mistake("source")
        assert played.dialog.draft.source == ""
        await played.press("enter")
        assert not played.asked.launched


async def test_mistakes_stand_at_their_fields_and_keep_it_from_launching() -> None:
    async with playing(*LOCAL) as played:
        assert "missing" in played.mistake("data")
        await played.type("data", "d.jsonl")
        await played.type("max_hours", "five")
        await played.type("more", "training.epoch=2")
        assert played.mistake("data") == ""
        assert "valid number" in played.mistake("max_hours")
        assert "did you mean epochs?" in played.told
        await played.press("enter")
        assert played.open and not played.asked.launched
        assert played.app.focused is played.form.field("max_hours")


async def test_mistakes_of_the_data_are_told_with_their_rows() -> None:
    desk = FakeDesk(live)
    rows = ("row 3: 'prompt' is missing", "row 9: no text")
    desk.launching.checked = Checked(mistakes={"data": "2 kinds of mistakes"}, problems=rows)
    async with playing(*RENTED, desk=desk) as played:
        assert "✗ row 3: 'prompt' is missing" in played.told and "✗ row 9: no text" in played.told
        await played.press("enter")
        assert played.app.focused is played.form.field("data")
        assert not played.asked.launched


async def test_a_run_here_is_launched_and_shown_without_a_question() -> None:
    async with playing(*LOCAL) as played:
        await played.type("data", "d.jsonl")
        await played.press("enter")
        await until(played.pilot, lambda: played.asked.launched)
        ((draft, offered),) = played.asked.launched
        assert (draft.text("data"), offered) == ("d.jsonl", None)
        assert not played.open
        assert played.app.current_mode == "job"
        await until(played.pilot, lambda: played.desk.questions[-1].job_id == "job-07")
        await played.press("n")  # done with: the next one begins anew
        assert played.dialog.draft == Draft()


@pytest.mark.parametrize(("key", "launched"), [("y", 1), ("n", 0)])
async def test_a_machine_is_rented_after_its_price_was_agreed_to(key: str, launched: int) -> None:
    async with playing(*RENTED) as played:
        assert "1 × $1.89 = $1.89 an hour" in played.told and "worst cost $5.00" in played.told
        await played.press("enter")
        assert isinstance(played.app.screen, Confirm)
        words = played.app.screen._question + played.app.screen._detail
        for said in ("1 × $1.89 = $1.89 an hour", "high stock", "worst cost: $5.00", "support-qwen"):
            assert said in words
        assert not played.asked.launched
        await played.press(key)
        assert len(played.asked.launched) == launched
        assert played.open is not bool(launched)


async def test_without_a_key_that_is_said_and_nothing_can_be_rented() -> None:
    desk = FakeDesk(live)
    desk.launching.offered = Offered(trouble="RUNPOD_API_KEY is not set. Set it.")
    desk.launching.catalog = ()
    async with playing(*RENTED, desk=desk) as played:
        await played.type("gpu", "L4")
        assert played.dialog.query_one("#answers").display
        await played.press("down")
        assert played.form.field("gpu_count").has_focus
        assert "RUNPOD_API_KEY is not set" in played.told
        await played.press("enter")
        assert not isinstance(played.app.screen, Confirm) and not played.asked.launched


async def test_a_rented_machine_needs_a_limit() -> None:
    async with playing(*RENTED) as played:
        await played.type("max_cost", "")
        assert "needs a limit" in played.mistake("max_hours")
        await played.press("enter")
        assert not played.asked.launched


async def test_fields_without_a_meaning_can_not_be_entered() -> None:
    async with playing(*LOCAL) as played:
        assert played.form.field("gpu").disabled
        await played.type("place", "runpod")
        assert not played.form.field("gpu").disabled


async def test_gpus_are_chosen_from_a_list_with_price_and_stock_or_typed() -> None:
    async with playing(*RENTED) as played:
        field, listed = played.form.field("gpu"), played.dialog.query_one(GpuList)
        await played.type("gpu", "")
        shown = "\n".join(listed.render_line(y).text for y in range(4))
        for words in ("auto", "RTX A5000", "24 GB  $0.16/h community, high stock", "H100 SXM"):
            assert words in shown
        await played.press("down", "down")
        assert (field.value, played.dialog.draft.text("gpu")) == ("A100 SXM", "A100 SXM")
        await played.press(*", h1")
        assert listed._keys == ["H100 SXM"]
        await played.press("down")
        assert field.value == "A100 SXM, H100 SXM"
        await played.type("gpu", "B200 of next year")
        assert len(listed._keys) == 4  # none is called so: all are shown, and the text stays
        assert played.dialog.draft.text("gpu") == "B200 of next year"
        await played.press("tab")
        assert not listed.display and played.dialog.query_one("#answers").display


async def test_the_dialog_waits_for_nobody_and_an_old_answer_is_void() -> None:
    desk, gate = FakeDesk(live), asyncio.Event()
    slow = desk.launching

    class Slow(FakeLaunching):
        async def check(self, draft: Draft) -> Checked:
            if draft.text("name") == "slow":
                await gate.wait()
                return replace(slow.checked, data=("old",))
            return replace(slow.checked, data=("new",))

        async def offers(self, draft: Draft) -> Offered:
            if draft.text("name") == "slow":
                await gate.wait()
            return OFFER

    desk.launching = Slow()
    async with playing(*RENTED, desk=desk) as played:
        name = played.form.field("name")
        name.focus()
        name.value = "slow"
        await until(played.pilot, lambda: "asking for prices and stock: —" in played.told)
        name.value = "fast"
        await settled(played.pilot)
        gate.set()
        await settled(played.pilot)
        assert "new" in played.told and "old" not in played.told


async def test_closing_it_loses_nothing() -> None:
    async with playing(*LOCAL) as played:
        await played.type("name", "mine")
        await played.type("tags", "a b")
        await played.press("escape", "2", "n")
        assert played.form.field("name").value == "mine"
        assert played.form.field("tags").value == "a b"
        assert played.form.field("source").value == "sft_standard"


async def test_a_path_is_completed_with_tab() -> None:
    async with playing(*LOCAL) as played:
        played.form.field("data").focus()
        await played.press(*"/data/s")
        await until(played.pilot, lambda: played.form.field("data")._suggestion)
        await played.press("tab")
        assert played.form.field("data").value == "/data/support.jsonl"
        await played.press("tab")
        assert played.app.focused is played.form.field("eval")
        await played.press("shift+tab")
        assert played.app.focused is played.form.field("data")
        await played.press("down", "up")
        assert played.app.focused is played.form.field("data")


async def test_the_spec_is_written_and_no_file_is_replaced_without_a_yes() -> None:
    async with playing(*RENTED) as played:
        await played.press("ctrl+s")
        assert isinstance(played.app.screen, Entry)
        await played.press("enter")
        assert played.asked.written == [("support-qwen.yaml", False)]
        played.asked.there = {"support-qwen.yaml"}
        await played.press("ctrl+s", "enter")
        assert isinstance(played.app.screen, Confirm)
        await played.press("n")
        assert len(played.asked.written) == 1
        played.dialog.query_one("#answers").focus()
        await played.press("w", "enter", "y")
        assert played.asked.written[1:] == [("support-qwen.yaml", True)]
        assert played.open


async def test_a_run_of_the_job_and_the_history_screen_is_launched_again_with_changes() -> None:
    async with playing("N") as played:
        job = played.app.snapshot.job.job  # type: ignore[union-attr]
        draft = played.dialog.draft
        assert draft.source == f"run {job.name}" and draft.base == job.config
        assert not draft.touched
        await played.press("escape", "3", "N")
        assert played.dialog.draft.source.startswith("run ")


async def test_hostile_texts_are_shown_as_text() -> None:
    desk = FakeDesk(live)
    bad = "[red]x[/red]\x1b[2J\u202e"
    desk.launching.checked = Checked({}, (bad,), (bad,), (bad,), ((1, ((bad, bad),)),), (bad,))
    desk.launching.offered = Offered(((bad, bad),), "", object())
    async with playing(*RENTED, desk=desk) as played:
        assert "[red]x[/red]" in played.told
        assert "\x1b" not in played.told and "\u202e" not in played.told


# Pictures

Compare = Callable[..., bool]
NO_KEY = Offered(trouble="RunPod: no key. Set RUNPOD_API_KEY, or put it into ~/.runpod/config.toml.")
LOOKS: dict[str, tuple[str, ...]] = {
    "sources": ("n",),
    "mistakes": (*LOCAL, *["tab"] * 6, *"x"),
    "rented": RENTED,
    "confirm": (*RENTED, "enter"),
    "no_key": RENTED,
    "write": (*RENTED, "ctrl+s"),
}


@pytest.mark.parametrize(
    ("look", "size"),
    [*((look, USUAL) for look in LOOKS), *((look, SMALL) for look in ("sources", "mistakes", "rented"))],
    ids=lambda value: value if isinstance(value, str) else "x".join(map(str, value)),
)
def test_pictures(snap_compare: Compare, look: str, size: tuple[int, int]) -> None:
    desk = FakeDesk(STATES["live"])
    if look == "no_key":
        desk.launching.offered = NO_KEY

    async def run(pilot: Pilot[None]) -> None:
        await settled(pilot)
        for key in LOOKS[look]:
            await press(pilot, key)

    assert snap_compare(PodiumApp(desk), terminal_size=size, run_before=run)
