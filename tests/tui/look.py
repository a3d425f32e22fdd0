"""Draw a screen to an SVG file, to be looked at: python tests/tui/look.py STATE WIDTHxHEIGHT OUT.svg [KEY…]

STATE is one of `fabricated.STATES`; the keys are pressed one after the other before the picture is taken.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.tui.fabricated import STATES, FakeDesk, a_log  # noqa: E402
from tests.tui.steps import press, settled  # noqa: E402
from tui.app import PodiumApp  # noqa: E402


async def draw(state: str, size: tuple[int, int], keys: list[str]) -> str:
    with tempfile.NamedTemporaryFile() as log:
        log.write(a_log())
        log.flush()
        app = PodiumApp(FakeDesk(STATES[state], log.name))
        async with app.run_test(size=size) as pilot:
            await settled(pilot)
            for key in keys:
                await press(pilot, key)
            return app.export_screenshot()


if __name__ == "__main__":
    state, size, out, *keys = sys.argv[1:]
    width, _, height = size.partition("x")
    Path(out).write_text(asyncio.run(draw(state, (int(width), int(height)), keys)))
