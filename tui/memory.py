"""What of the question outlives a session: the compared runs and how they are looked at. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.analysis.snapshot import Question


def remembered(question: Question) -> dict[str, Any]:
    """What to keep, as JSON values."""
    return {
        "compared": list(question.compared),
        "reference": question.reference,
        "statistic": question.statistic,
        "family": question.family,
    }


def recalled(kept: Any) -> dict[str, Any]:
    """The fields of a question from what was kept; what makes no sense is left out."""
    if not isinstance(kept, Mapping):
        return {}
    found: dict[str, Any] = {}
    compared, reference = kept.get("compared"), kept.get("reference")
    if isinstance(compared, list) and all(isinstance(job_id, str) for job_id in compared):
        found["compared"] = tuple(compared)
    if isinstance(reference, str):
        found["reference"] = reference
    statistic = kept.get("statistic")
    if isinstance(statistic, str) and statistic != Question().statistic:
        from engine.analysis.compared import STATISTICS  # the screens start without it

        if statistic in STATISTICS:
            found["statistic"] = statistic
    if isinstance(kept.get("family"), bool):
        found["family"] = kept["family"]
    return found
