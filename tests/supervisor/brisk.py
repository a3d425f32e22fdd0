"""A supervisor in a hurry, as a program: `python brisk.py FOLDER JSON` (timing, pace, trainer and slot)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from engine.supervisor.outbox import Pace
from engine.supervisor.outcome import Timing
from engine.supervisor.supervisor import supervise

BRISK = {"tick": 0.02, "heartbeat": 0.1, "heartbeat_later": 0.1, "backoff": [0.01], "linger": 5}
PACE = {"idle": 0.05, "retry": 0.05, "longest": 0.3, "refused": 0.3, "timeout": 2.0, "drain": 20.0}

if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    timing = {**BRISK, **options.get("timing", {})}
    slot = options.get("slot")
    sys.exit(
        supervise(
            Path(sys.argv[1]),
            trainer=options["trainer"],
            slot=Path(slot) if slot else None,
            timing=Timing(**{**timing, "backoff": tuple(timing["backoff"])}),
            pace=Pace(**{**PACE, **options.get("pace", {})}),
        )
    )
