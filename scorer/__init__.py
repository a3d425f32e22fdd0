"""The scorer turns a checkpoint's numbers into one comparable score. Ships; stdlib only."""
from scorer.score import FORMULA, CheckpointMetrics, Score, Validity, Weights, score
from scorer.selection import Selection, order_key, select

__all__ = [
    "FORMULA", "CheckpointMetrics", "Score", "Selection", "Validity", "Weights", "order_key", "score", "select",
]
