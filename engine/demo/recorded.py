"""The demo's runs as they once went, for machines that can't train: real job folders without checkpoints.

`python benchmarks/record_demo.py` renews them.
"""

from __future__ import annotations

from pathlib import Path


def recordings() -> list[Path]:
    """The recorded job folders, in the order they ran; their events and logs are gzipped."""
    return sorted(spec.parent for spec in Path(__file__).with_name("recording").glob("*/job.json"))
