"""An app without a screen, as a program: it opens a home, launches what it is told to, and follows.

`python app.py HOME DATA JSON`: JSON of the stand-in trainer's options and the number of jobs.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from engine.controller import Controller, Pods
from engine.home import Home
from engine.job.spec import JobSpec
from engine.store.sqlite import SQLiteStore
from tests import standin


async def main() -> None:
    home, options = Home(Path(sys.argv[1])), json.loads(sys.argv[3])
    home.create()
    controller = Controller(SQLiteStore(home.database), home, Pods(home, standin.argv(**options["trainer"])))
    await controller.start()
    jobs = [await controller.launch(spec(Path(sys.argv[2]), f"job {n}")) for n in range(options["jobs"])]
    await controller.settle([job.id for job in jobs])


def spec(data: Path, name: str = "a job", **sections: object) -> JobSpec:
    return JobSpec.parse(
        {
            "name": name,
            "model": {"name": "tiny", "build": {}},
            "dataset": {"path": str(data), "train_split": 0.8},
            "training": {"max_steps": 10},
            **sections,
        },
        "test",
    )


if __name__ == "__main__":
    asyncio.run(main())
