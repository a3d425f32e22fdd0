"""Scripts, controllers and a server on loopback; whatever a test starts is ended by its id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.controller import Controller, Pods
from engine.home import Home
from engine.job.spec import JobSpec
from engine.store.sqlite import SQLiteStore
from tests.controller.conftest import end_all, place, store
from tests.emulators.sshd import Server, sshd

__all__ = ["place", "store"]

SCRIPT = """
import os, pathlib, signal, sys, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
out = pathlib.Path("artifacts")
out.mkdir(exist_ok=True)
resume = os.environ.get("PODIUM_RESUME_FROM")
first = int(resume.rsplit("_", 1)[1].split(".")[0]) if resume else 0
print("from", first, "secret", len(os.environ.get("A_TOKEN", "")), "seed", os.environ.get("SEED"), flush=True)
with (out / "epoch_metrics.csv").open("a") as metrics, (out / "probability_stats.csv").open("a") as stats:
    if not first:
        metrics.write("epoch,train_loss,val_loss\\n")
        stats.write("epoch,phase,separation\\n")
    for epoch in range(first + 1, int(sys.argv[1]) + 1):
        time.sleep(float(sys.argv[2]) + (2.5 if len(sys.argv) > 3 and epoch == 5 else 0))
        metrics.write(f"{epoch},{8 / epoch},{9 / epoch}\\n")
        stats.write(f"{epoch},val,{epoch / 50}\\n")
        metrics.flush(), stats.flush()
        losses = f"train_loss={8 / epoch:.4f}, val_loss={9 / epoch:.4f}"
        print(f"Epoch {epoch}/{sys.argv[1]}: {losses}", flush=True)
        if epoch % 4 == 0 or asked:
            part = out / "part"
            part.write_text(str(epoch))
            part.replace(out / f"checkpoint_epoch_{epoch}.pt")
        if asked:
            sys.exit(0)
        if len(sys.argv) > 3 and epoch == int(sys.argv[3]) and not resume:
            (out / "checkpoint_epoch_5.pt").write_text("torn")
            time.sleep(0.1)
            raise RuntimeError("out of luck")
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "train.py").write_text(SCRIPT)
    (folder / ".env").write_text("SECRET=1")
    (folder / "artifacts").mkdir()
    (folder / "artifacts" / "epoch_metrics.csv").write_text("epoch,train_loss\n999,1\n")
    return folder


def spec(code: Path, *arguments: Any, pod: dict[str, Any] | None = None, **script: Any) -> JobSpec:
    command = ["python", "train.py", *map(str, arguments)]
    values = {
        "name": "a-script",
        "method": "script",
        "script": {"command": command, "variables": {"SEED": "7"}, **script},
        "criteria": {
            "minimum": {"eval_loss": "-20 %"},
            "strong": {"probability_stats/val/separation": "> 0.1"},
        },
        **({"pod": pod} if pod else {}),
    }  # fmt: skip
    return JobSpec.parse(values, "test", base=code)


class Laptop:
    """Controllers on one home, one after the other."""

    def __init__(self, store: SQLiteStore, home: Home) -> None:
        self.store, self.home = store, home
        self.opened: list[Controller] = []

    async def open(self) -> Controller:
        pods = Pods(self.home, ssh_config=[], keepalive=0.5)
        self.opened.append(Controller(self.store, self.home, pods))
        await self.opened[-1].start()
        return self.opened[-1]


@pytest.fixture
async def laptop(store: SQLiteStore, place: Home) -> AsyncIterator[Laptop]:
    laptop = Laptop(store, place)
    yield laptop
    for controller in laptop.opened:
        await controller.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = sshd(tmp_path / "server")
    yield server
    server.stop()
    end_all(Home(server.root))
