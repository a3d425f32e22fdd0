"""Somebody who answers the launch dialog without an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from engine.errors import BadInput, BadSpec
from tui.draft import Draft, resolve
from tui.launch_answers import Checked, Gpu, Offered, Source

SOURCES = (
    Source("support.yaml", "file", "in this folder"),
    Source("/data/older.yaml", "recent", "launched before"),
    Source("dpo_standard", "template", "dpo · meta-llama/Llama-3.2-1B-Instruct"),
    Source("sft_standard", "template", "sft · meta-llama/Llama-3.2-1B-Instruct"),
)

BASES = {
    "sft_standard": {"name": "sft_standard", "method": "sft", "model": {"name": "meta-llama/Llama-3.2-1B"}},
    "support.yaml": {
        "name": "support-qwen",
        "model": {"name": "Qwen/Qwen2.5-7B-Instruct"},
        "dataset": {"path": "/data/support.jsonl"},
        "limits": {"max_cost_usd": 5},
        "pod": {"provider": "runpod"},
        "tags": ["final"],
    },
}

SOUND = Checked(
    data=("1 204 rows of format messages, all fit for sft; 95% of them to train on",
          "⚠ rows 12, 40 and 7 others are duplicates"),
    preview=(
        (1, (("user", "When do you open on Sundays?"), ("assistant", "We open at 10 on Sundays."))),
        (2, (("user", "May I bring my dog?"), ("assistant", "Dogs are welcome in the garden, on a lead."))),
    ),
    estimate=("GPU memory: about 22.4 GB (weights 15.2, activations 4.1)",
              "Time: about 1.4 h on one A100 at 40% of its speed, loading not counted"),
)  # fmt: skip

OFFER = Offered(
    (
        ("machine", "1 × A100 SXM, 80 GB each, about 22 GB needed · secure cloud, high stock"),
        ("price", "1 × $1.89 = $1.89 an hour"),
        ("or else", "1 × H100 SXM at $2.99/h (secure cloud, low stock)"),
        ("disk", "50 GB, 50 GB at /workspace"),
        ("time", "about 1.4 h by the estimate"),
        ("cost", "about $2.65 by the estimate"),
        ("limits", "no end of hours · $5.00 · 30 min of silence · 30 min for fetching"),
        ("worst cost", "$5.00"),
    ),
    "",
    object(),
)

GPUS = (
    Gpu("RTX A5000", "24 GB  $0.16/h community, high stock · $0.27/h secure, low stock"),
    Gpu("A100 SXM", "80 GB  $1.89/h secure, high stock"),
    Gpu("H100 SXM", "80 GB  $2.99/h secure, out of stock"),
)


class FakeLaunching:
    """Answers at once; the spec's mistakes are real ones."""

    def __init__(self) -> None:
        self.checked, self.offered, self.catalog = SOUND, OFFER, GPUS
        self.there: set[str] = set()
        self.written: list[tuple[str, bool]] = []
        self.launched: list[tuple[Draft, Offered | None]] = []
        self.looked: list[Draft] = []

    async def sources(self) -> tuple[Source, ...]:
        return SOURCES

    async def begin(self, source: str) -> Draft:
        if source not in BASES:
            raise BadSpec(source, ["is neither a file nor a template"])
        return Draft(source, BASES[source], "/data", here="/here")

    async def check(self, draft: Draft) -> Checked:
        self.looked.append(draft)
        found = resolve(draft)
        if found.mistakes or found.others:
            return Checked(found.mistakes, found.others)
        return self.checked

    async def offers(self, draft: Draft) -> Offered:
        return self.offered

    async def gpus(self, draft: Draft) -> tuple[Gpu, ...]:
        return self.catalog if draft.rented else ()

    async def paths(self, text: str) -> str | None:
        return "/data/support.jsonl" if text and "/data/support.jsonl".startswith(text) else None

    async def write(self, draft: Draft, path: str, *, replacing: bool) -> str:
        if path in self.there and not replacing:
            raise BadInput(f"{path}: is there already", "Give another name.")
        self.written.append((path, replacing))
        return f"Written to {path}."

    async def close(self) -> None:
        pass

    async def launch(self, draft: Draft, offered: Offered | None, begun: Callable[[str], None]) -> str:
        self.launched.append((draft, offered and replace(offered, rows=())))
        begun("job-07")
        return "launched"
