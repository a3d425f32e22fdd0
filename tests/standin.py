"""A trainer without torch that keeps the contract: events, checkpoints, resume, SIGTERM, exit status.

The supervisor runs it as a program: `python standin.py [options] FOLDER`; `argv(steps=…)` is its command.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from engine.job.events import EventType, EventWriter, Status
from engine.job.folder import JobFolder, write_json


def argv(**options: object) -> list[str]:
    """The command of a stand-in with these options, without the folder."""
    command = [sys.executable, __file__]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    return command


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--delay", type=float, default=0.01, help="seconds a step")
    parser.add_argument("--every", type=int, default=5, help="steps between checkpoints")
    parser.add_argument("--crash-at", type=int, default=-1, help="the step before which it crashes")
    parser.add_argument("--crash-attempts", type=int, default=1, help="how many attempts crash")
    parser.add_argument("--say", default="", help="the last line before the crash")
    parser.add_argument("--code", type=int, default=1, help="the exit status of the crash")
    parser.add_argument("--stubborn", type=int, default=0, help="1 ignores SIGTERM")
    parser.add_argument("--silent-at", type=int, default=-1, help="the step at which it hangs for ever")
    parser.add_argument("--explain", type=int, default=0, help="1 writes `state` failed before the crash")
    parser.add_argument("--worker", type=int, default=0, help="1 starts a process in a session of its own")
    parser.add_argument("--weights", type=int, default=0, help="bytes of real weights in each checkpoint")
    return parser.parse_args(arguments)


class Left(Exception):
    """SIGTERM came and everything is saved."""


def main() -> int:
    options = parse(sys.argv[1:])
    folder = JobFolder(options.folder)
    attempt = int(os.environ["PODIUM_ATTEMPT"])
    asked: list[int] = []
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    if options.worker and os.fork() == 0:
        os.setsid()
        (folder.path / "worker.pid").write_text(str(os.getpid()))
        time.sleep(600)
        os._exit(0)
    with EventWriter(folder.events, attempt) as events:
        start = max((int(path.name.split("-")[1]) for path in folder.checkpoints.iterdir()), default=0)
        events.append(EventType.START, start, total_steps=options.steps, config={})
        print(f"attempt {attempt} from step {start}, pid {os.getpid()}")
        for step in range(start + 1, options.steps + 1):
            if step == options.crash_at and attempt <= options.crash_attempts:
                return crash(options, events)
            if step == options.silent_at and attempt <= options.crash_attempts:
                time.sleep(600)
            time.sleep(options.delay)
            events.append(EventType.TRAIN, step, loss=4.0 / step, epoch=step / 10, tokens=step * 100)
            print(f"step {step} loss {4.0 / step:.4f}")
            if step % options.every == 0 or asked or folder.take_request("save"):
                save(folder, events, step, options.weights)
            if asked:
                return 0
        events.append(EventType.RESULT, options.steps, best_step=options.steps, total_steps=options.steps)
    return 0


def save(folder: JobFolder, events: EventWriter, step: int, weights: int = 0) -> None:
    if weights:
        save_weights(folder, events, step, weights)
        return
    path = folder.checkpoint(step)
    aside = path.with_name(f".{path.name}")
    aside.mkdir(exist_ok=True)
    write_json(aside / "manifest.json", {"step": step})
    if not path.exists():
        aside.rename(path)
    events.append(EventType.EVAL, step, eval_loss=5.0 / step, train_loss=4.0 / step)
    events.append(EventType.CHECKPOINT, step, path=f"checkpoints/{path.name}", bytes=len(json.dumps(step)))


def save_weights(folder: JobFolder, events: EventWriter, step: int, size: int) -> None:
    """As the trainer does it: written aside, hashed into a manifest, renamed."""
    # The folder of this program holds a package scorer, too: that of the scorer's tests.
    sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]
    from engine.trainer import checkpoints

    written = checkpoints.staging(folder) / "written"
    (written / "adapter").mkdir(parents=True)
    (written / "adapter" / "weights.bin").write_bytes(os.urandom(size))
    (written / "config.json").write_text("{}")
    saved = checkpoints.publish(written, folder, step, None, None)
    events.append(EventType.EVAL, step, eval_loss=5.0 / step, train_loss=4.0 / step)
    path = f"checkpoints/{saved.path.name}"
    events.append(EventType.CHECKPOINT, step, path=path, bytes=saved.bytes, sha256=saved.sha256)


def crash(options: argparse.Namespace, events: EventWriter) -> int:
    if options.explain:
        events.append(EventType.STATE, status=Status.FAILED, error="row 7 is broken", advice="Mend row 7.")
    if options.say:
        print(options.say, flush=True)
    if options.code < 0:
        os.kill(os.getpid(), -options.code)
        time.sleep(600)
    return options.code


if __name__ == "__main__":
    sys.exit(main())
