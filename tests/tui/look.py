"""Draw a screen to an SVG file, to be looked at: python tests/tui/look.py WHAT WIDTHxHEIGHT OUT.svg [KEY…]

WHAT is a state of `fabricated.STATES`, or a folder: the PODIUM_HOME of real runs.
The keys are pressed one after the other before the picture is taken.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from engine.home import Home  # noqa: E402
from tests.tui.fabricated import STATES, FakeDesk, a_log  # noqa: E402
from tests.tui.steps import press, settled  # noqa: E402
from tui.app import PodiumApp  # noqa: E402
from tui.desk import Desk, EngineDesk  # noqa: E402


async def draw(desk: Desk, size: tuple[int, int], keys: list[str]) -> str:
    """The picture."""
    app = PodiumApp(desk)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        for key in keys:
            await press(pilot, key)
        return app.export_screenshot()


def main(what: str, size: str, out: str, *keys: str) -> None:
    """Draw and write."""
    columns, _, lines = size.partition("x")
    with tempfile.NamedTemporaryFile() as log:
        log.write(a_log())
        log.flush()
        desk = FakeDesk(STATES[what], log.name) if what in STATES else EngineDesk(Home(Path(what)))
        picture = asyncio.run(draw(desk, (int(columns), int(lines)), list(keys)))
    Path(out).write_text(picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
