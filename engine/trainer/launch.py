"""`python -m engine.trainer.launch … FOLDER`: torchrun's launcher, with a job's ways of stopping and failing.

SIGTERM reaches the ranks, which save and leave; torchrun by itself would end them and call it a failure.
One rank's death ends all of them. Exit status: 0 all ranks are done, or left as asked; 3 failed for good; 4
to be started again without counting it as a failure; 1 anything else, of which the log tells.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from engine.trainer import loading, log
from engine.trainer.distributed import AGAIN, FAILED_FOR_GOOD, LOST, cores

_MEETING: Final = 900
"""Seconds that nodes wait for each other; installing and loading take each its own time."""


def main(argv: Sequence[str] | None = None) -> int:
    """Start this machine's ranks and return when they have ended."""
    parser = argparse.ArgumentParser(prog="python -m engine.trainer.launch", description=__doc__)
    parser.add_argument("--processes", type=int, required=True, help="ranks on this machine")
    parser.add_argument("--node", type=int, default=0, help="which machine this is, from 0")
    parser.add_argument("--nodes", type=int, default=1, help="how many machines there are")
    parser.add_argument("--address", default="127.0.0.1", help="node 0's address")
    parser.add_argument("--port", type=int, default=0, help="where all meet, on node 0")
    parser.add_argument("folder", help="the job's folder")
    options = parser.parse_args(argv)
    _pass_sigterm_on()
    loading.begin()
    try:
        if options.node > 0:
            _await_first(options.address, options.port, options.node)
        with tempfile.TemporaryDirectory(prefix="podium-ranks-") as scratch:
            return _launch(options, scratch)
    except TimeoutError as error:
        log.line(f"a rank was lost: {error}")
        return 1


def _launch(options: argparse.Namespace, scratch: str) -> int:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    loading.end()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // options.processes)))
    static = options.nodes > 1
    if static and (name := _interface(options.address)) is not None:
        # By themselves both take the one that the machine's name leads to, often a loopback.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", name)
    config = LaunchConfig(
        min_nodes=options.nodes,
        max_nodes=options.nodes,
        nproc_per_node=options.processes,
        run_id="podium",
        rdzv_backend="static" if static else "c10d",
        rdzv_endpoint=f"{options.address}:{options.port}" if static else "localhost:0",
        rdzv_configs={"rank": options.node, "timeout": _MEETING} if static else {},
        max_restarts=0,
        monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(log_dir=scratch),
        # SIGTERM is ours: see `_pass_sigterm_on`.
        signals_to_handle="SIGINT",
    )
    safe = ("-P",) if sys.flags.safe_path else ()
    try:
        elastic_launch(config, sys.executable)(*safe, "-u", "-m", "engine.trainer", options.folder)
    except ChildFailedError as error:
        return _verdict(error.failures, options.node)
    except OSError as error:
        log.line(f"a rank was lost: the ranks could not meet at {options.address}:{options.port} ({error})")
        return 1
    return 0


def _verdict(failures: dict[int, Any], node: int) -> int:
    """The exit status that the ranks' deaths come to, and a line in the log where they can't speak."""
    codes = {rank: failure.exitcode for rank, failure in sorted(failures.items())}
    for code in (FAILED_FOR_GOOD, AGAIN):
        if code in codes.values():
            return code
    for rank, code in codes.items():
        if code < 0:
            log.line(f"a rank was lost: rank {rank} was killed by {_name(-code)}")
            return 1
    if set(codes.values()) == {LOST}:
        log.line("a rank was lost: one on another machine; its own log says more")
        # Whether that machine is to be tried again is for node 0 to say.
        return 1 if node == 0 else AGAIN
    return 1


def _pass_sigterm_on() -> None:
    """From now on SIGTERM goes to the ranks, whatever this process is doing; without ranks it leaves at once.

    The signal is taken by a thread, for the main one may wait in C++. Ranks are born with it blocked and take
    it when they are ready to.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def take() -> None:
        while True:
            signal.sigwait({signal.SIGTERM})
            if not (ranks := _ranks()):
                os._exit(0)
            for rank in ranks:
                rank.send_signal(signal.SIGTERM)

    threading.Thread(target=take, daemon=True).start()


def _ranks() -> list[Any]:
    import psutil

    return list(psutil.Process().children())


def _await_first(address: str, port: int, node: int) -> None:
    """Wait until node 0 is there, anew: one that this node has already met is about to end.

    Raises:
        TimeoutError: It does not come.
    """
    from torch.distributed import DistError, TCPStore

    deadline = time.monotonic() + _MEETING
    while time.monotonic() < deadline:
        if _answers(address, port):
            try:
                store = TCPStore(
                    address, port, is_master=False, timeout=timedelta(seconds=5), wait_for_workers=False
                )
                if store.add(f"podium/met/{node}", 1) == 1:
                    return
            except DistError:
                pass
        time.sleep(0.2)
    raise TimeoutError(f"node 0 does not answer at {address}:{port}")


def _interface(address: str) -> str | None:
    """The network interface that leads to an address; None where that can't be told."""
    import psutil

    try:
        (family, kind, *_, target), *_ = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)
        with socket.socket(family, kind) as probe:
            probe.connect(target)
            own = probe.getsockname()[0]
    except OSError:
        return None
    for name, known in psutil.net_if_addrs().items():
        for entry in known:
            loopback = own.startswith("127.") and entry.address.startswith("127.")
            if entry.address.split("%")[0] == own or loopback:
                return str(name)
    return None


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=5):
            return True
    except OSError:
        return False


def _name(number: int) -> str:
    known: Iterable[int] = [item.value for item in signal.Signals]
    return signal.Signals(number).name if number in known else f"signal {number}"


if __name__ == "__main__":
    sys.exit(main())
