"""How fast is the Job screen? Black-box, in tmux, beside an empty Textual app in the same run.

    python benchmarks/tui.py [--reps 5] [--points 100000 1000000] [--lines 1000000] [--size 120x40] [--json]

- start: from the command to what can be read on the screen: the empty app's one word; our first chart,
  with all points drawn; the end of a log of a million lines.
- key: from a key to the first byte that the app writes, at rest and while 50,000 log lines a second come.
- follow: lines a second that the log pane keeps up with, while a writer appends as fast as it can.
- rest: processor time at rest, percent of a core; memory, MB.
- redraw: reading and drawing five curves of 100,000 points four times a second, percent of a core.

Needs tmux. Medians; all processes are started here and ended by their ids.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import select
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.installed import compiled
from engine.home import Home
from engine.job.events import Event, EventType, Status, encode
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from scorer import CheckpointMetrics, score

BARE = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    BINDINGS = [("q", "quit", "quit")]
    def compose(self): yield Static("nothing-but-this")
Bare().run()
"""
START = datetime(2026, 11, 21, 10, tzinfo=UTC)
PATIENCE = 120.0


class Terminal:
    """A command in a terminal of its own: what it shows, what it writes, what it costs.

    Args:
        argv: The command.
        size: Columns and lines.
        env: Variables beside those of this process.
    """

    def __init__(self, argv: Sequence[str], size: tuple[int, int], env: dict[str, str]) -> None:
        self.socket = f"podium-bench-{os.getpid()}-{time.monotonic_ns()}"
        self.folder = tempfile.TemporaryDirectory()
        self.written: list[float] = []
        self._closing = False
        quiet = Path(self.folder.name, "tmux.conf")
        quiet.write_text("set -g status off\nset -s escape-time 0\nset -g remain-on-exit on\n")
        columns, lines = map(str, size)
        settings = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **env}
        subprocess.run(
            [
                "tmux",
                "-L",
                self.socket,
                "-f",
                str(quiet),
                "new-session",
                "-d",
                "-x",
                columns,
                "-y",
                lines,
                "cat",
            ],
            env=settings,
            check=True,
        )
        self._listen()
        self.begun = time.perf_counter()
        self.tmux("respawn-pane", "-k", "-t", "0", "exec " + " ".join(map(_quoted, argv)))

    def _listen(self) -> None:
        """Note when the command writes."""
        pipe = Path(self.folder.name, "written")
        os.mkfifo(pipe)
        self._fd = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        threading.Thread(target=self._note, daemon=True).start()
        self.tmux("pipe-pane", "-O", "-t", "0", f"exec cat > {pipe}")

    def _note(self) -> None:
        while not self._closing:
            if select.select([self._fd], [], [], 0.2)[0]:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._fd, 1 << 20)
                    self.written.append(time.perf_counter())

    def tmux(self, *args: str) -> str:
        done = subprocess.run(["tmux", "-L", self.socket, *args], capture_output=True, text=True, check=False)
        return done.stdout

    def text(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "0")

    def wait(self, pattern: str) -> float:
        """Seconds from the start until the screen shows the pattern."""
        deadline = time.perf_counter() + PATIENCE
        while not re.search(pattern, self.text()):
            if time.perf_counter() > deadline:
                raise SystemExit(f"waited in vain for {pattern!r}; the screen was:\n{self.text()}")
            time.sleep(0.01)
        return time.perf_counter() - self.begun

    def press(self, key: str) -> float:
        """Milliseconds from a key to the first byte that is written after it."""
        seen = len(self.written)
        pressed = time.perf_counter()
        self.tmux("send-keys", "-t", "0", key)
        while len(self.written) == seen:
            if time.perf_counter() > pressed + 10:
                raise SystemExit(f"{key} had no answer")
            time.sleep(0.0005)
        return (self.written[seen] - pressed) * 1000

    @property
    def pid(self) -> int:
        return int(self.tmux("display-message", "-p", "-t", "0", "#{pane_pid}"))

    def memory(self) -> float:
        """Resident, MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) / 1024 if found else math.nan

    def busy(self, seconds: float) -> float:
        """Percent of a core over some seconds."""
        before = self._processor()
        time.sleep(seconds)
        return (self._processor() - before) / seconds * 100

    def _processor(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self.tmux("send-keys", "-t", "0", "q")
        self._closing = True
        time.sleep(0.3)
        self.tmux("kill-server")
        os.close(self._fd)
        self.folder.cleanup()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def a_home(folder: Path, points: int, lines: int, curves: int = 1) -> Home:
    """A home with finished runs: each with so many points and, the newest, a log of so many lines."""
    home = Home(folder)
    home.create()
    store = SQLiteStore(home.database)
    for number in range(curves):
        job = Job(
            id=f"run-{number}",
            name=f"run-{number}",
            status=Status.COMPLETED,
            created_at=START,
            provider="local",
        )
        store.add(job)
        at = 0
        for data in _events(points):
            at = store.ingest(job.id, data, at).offset
        store.update(job.id, status=Status.COMPLETED)
        home.job(job.id).create()
        _write_log(home.job(job.id).log, lines if number == curves - 1 else 0)
    store.close()
    return home


def _events(points: int) -> Iterator[bytes]:
    """Training steps with four evaluated and scored checkpoints, in deliveries of 20,000."""
    batch = [encode(Event(1, START, 1, EventType.START, 0, {"total_steps": points, "config": {}}))]
    seq = 1

    def event(kind: EventType, step: int, data: dict[str, object], moment: datetime) -> None:
        nonlocal seq
        seq += 1
        batch.append(encode(Event(seq, moment, 1, kind, step, data)))

    for step in range(1, points + 1):
        loss = 0.5 + 4 * math.exp(-step / (points / 20)) + 0.05 * math.sin(step)
        moment = START + timedelta(seconds=step / 4)
        data = {"loss": loss, "learning_rate": 1e-4, "grad_norm": 1.0}
        event(EventType.TRAIN, step, data, moment)
        if step % (points // 4) == 0:
            eval_loss = loss + 0.1
            told = score(CheckpointMetrics(step, eval_loss, loss, True)).to_json()
            at = {"epoch": step / points, "score": told}
            event(EventType.EVAL, step, {"eval_loss": eval_loss, "train_loss": loss, **at}, moment)
            kept = {"path": f"checkpoints/checkpoint-{step}", "bytes": 1000, "sha256": "ab" * 32, **at}
            event(EventType.CHECKPOINT, step, kept, moment)
        if len(batch) >= 20_000:
            yield b"".join(batch)
            batch.clear()
    yield b"".join(batch)


def _write_log(path: Path, lines: int) -> None:
    with path.open("wb") as file:
        for first in range(0, lines, 10_000):
            file.write(b"".join(_line(number) for number in range(first, min(lines, first + 10_000))))
        file.write(b"last line\n")


def _line(number: int) -> bytes:
    return b"12:41:07  step %d  loss 0.5981  grad_norm 0.79  lr 1.38e-04  tokens 3412 on gpu 0\n" % number


def feed(path: Path, rate: int, seconds: float) -> subprocess.Popen[bytes]:
    """A writer in a process of its own: so many lines a second, 0 for as many as it can."""
    program = (
        "import sys, time\n"
        "path, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])\n"
        "line = b'12:41:07  step 1  loss 0.5981  grad_norm 0.79  lr 1.38e-04  tokens 3412 on gpu 0\\n'\n"
        "begun, written = time.monotonic(), 0\n"
        "with open(path, 'ab', buffering=0) as file:\n"
        "    while (passed := time.monotonic() - begun) < seconds:\n"
        "        due = int(passed * rate) - written if rate else 5000\n"
        "        if due > 0: file.write(line * due); written += due\n"
        "        time.sleep(0.01)\n"
        "print(written)\n"
    )
    argv = [sys.executable, "-c", program, str(path), str(rate), str(seconds)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE)


def podium(home: Home, size: tuple[int, int]) -> Terminal:
    return Terminal(
        [sys.executable, "-m", "tui"], size, {"PODIUM_HOME": str(home.path), "PYTHONPATH": str(ROOT)}
    )


CHART = "(?s)━ train .*[\u2801-\u28ff]"


def starts(home: Home, size: tuple[int, int], reps: int, pattern: str) -> float:
    """Median seconds to a pattern."""
    times = []
    for _ in range(reps):
        with podium(home, size) as terminal:
            times.append(terminal.wait(pattern))
    return statistics.median(times)


def bare(size: tuple[int, int], reps: int) -> float:
    """The same of an empty Textual app."""
    times = []
    for _ in range(reps):
        with Terminal([sys.executable, "-c", BARE], size, {}) as terminal:
            times.append(terminal.wait("nothing-but-this"))
    return statistics.median(times)


def keys(home: Home, size: tuple[int, int], presses: int, rate: int) -> tuple[float, float]:
    """The median and the 95th percentile of the answer to a key, milliseconds."""
    log = home.job("run-0").log
    with podium(home, size) as terminal:
        terminal.wait(CHART)
        time.sleep(1.5)
        writer = feed(log, rate, 2 + presses * 0.2) if rate else None
        time.sleep(1 if rate else 0)
        times = []
        for _ in range(presses):
            times.append(terminal.press("Right"))
            time.sleep(0.12)
        if writer:
            writer.wait()
    return statistics.median(times), statistics.quantiles(times, n=20)[18]


def follow(home: Home, size: tuple[int, int], seconds: float) -> float:
    """Lines a second that are shown, with a writer that does not wait."""
    log = home.job("run-0").log
    with podium(home, size) as terminal:
        terminal.wait(CHART)
        time.sleep(1)
        writer = feed(log, 0, seconds)
        begun = time.perf_counter()
        written = int(writer.communicate()[0])
        with log.open("ab") as file:
            file.write(b"caught up\n")
        terminal.wait("caught up")
        return written / (time.perf_counter() - begun)


def redraw(home: Home, curves: int, size: tuple[int, int]) -> float:
    """Percent of a core that reading and drawing all runs' curves four times a second takes."""
    from engine.analysis.snapshot import ChartView
    from tui.widgets.plot import Line, Plot, draw

    store = SQLiteStore(home.database)
    view = ChartView(columns=2 * size[0])
    times = []
    for _ in range(12):
        begun = time.process_time()
        read = [store.curve(f"run-{number}", "loss", columns=view.columns) for number in range(curves)]
        lines = tuple(Line(curve.job_id, curve, "$run-0") for curve in read)
        colours = tuple(((200, 200, 200), (90, 90, 90)) for _ in lines)
        draw(Plot(lines, colours, size[0], size[1] - 10, smoothing=0.03))
        times.append(time.process_time() - begun)
    store.close()
    return statistics.median(times) * 4 * 100


def measure(args: argparse.Namespace) -> Iterator[tuple[str, tuple[float, ...]]]:
    """All numbers, by name, as they are found."""
    columns, lines = map(int, args.size.split("x"))
    size = (columns, lines)
    with tempfile.TemporaryDirectory() as folder:
        empty = bare(size, args.reps)
        yield "start of an empty app, s", (empty,)
        small = a_home(Path(folder, "small"), 2_000, 100)
        first = starts(small, size, args.reps, CHART)
        yield "first chart, s, and as many times the empty app", (first, first / empty)
        yield "key at rest, p50 and p95, ms", keys(small, size, args.keys, 0)
        yield "key at 50,000 lines/s, p50 and p95, ms", keys(small, size, args.keys, 50_000)
        yield "follows, lines/s", (follow(small, size, 4),)
        long = a_home(Path(folder, "long"), 2_000, args.lines)
        yield f"end of a log of {args.lines:,} lines, s", (starts(long, size, args.reps, "last line"),)
        for points in args.points:
            home = a_home(Path(folder, f"p{points}"), points, 100)
            yield f"chart of {points:,} points, s", (starts(home, size, args.reps, CHART),)
            with podium(home, size) as terminal:
                terminal.wait(CHART)
                time.sleep(2)
                yield f"with {points:,} points, MB", (terminal.memory(),)
                yield f"with {points:,} points at rest, %", (terminal.busy(10),)
        many = a_home(Path(folder, "many"), 100_000, 10, curves=5)
        yield "redraw of 5 x 100,000 points at 4 Hz, %", (redraw(many, 5, size),)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--keys", type=int, default=40)
    parser.add_argument("--points", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    compiled()
    numbers: dict[str, tuple[float, ...]] = {}
    for name, values in measure(args):
        numbers[name] = values
        if not args.json:
            shown = "  ".join(f"{value:,.2f}" for value in values)
            print(f"{name:<52} {shown:>20}   load {os.getloadavg()[0]:.1f}", flush=True)
    if args.json:
        print(json.dumps(numbers))


if __name__ == "__main__":
    main()
