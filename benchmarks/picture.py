"""Draw the README's picture: the Job screen on a real run, as an SVG.

    PODIUM_HOME=… python -m benchmarks.picture JOB OUT.svg [WIDTHxHEIGHT]

Nothing is made up: the app opens on the store of that home, as `podium` does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from engine.home import Home
from tui.app import PodiumApp
from tui.desk import EngineDesk


async def draw(name: str, size: tuple[int, int]) -> str:
    from engine.store.sqlite import SQLiteStore

    home = Home.default()
    store = SQLiteStore(home.database)
    job = store.find(name)
    store.close()
    app = PodiumApp(EngineDesk(home), job_id=job.id)
    async with app.run_test(size=size) as pilot:
        for _ in range(100):
            await pilot.pause(0.1)
            shown = app.snapshot.job if app.snapshot is not None else None
            if shown is not None and shown.job.id == job.id and shown.curves:
                break
        else:
            raise SystemExit(f"{name} was not shown within 10 s")
        await pilot.pause(2)  # the log is indexed and the chart plotted in threads
        return app.export_screenshot()


if __name__ == "__main__":
    name, out, *size = sys.argv[1:]
    width, _, height = (size[0] if size else "120x40").partition("x")
    Path(out).write_text(asyncio.run(draw(name, (int(width), int(height)))))
