"""The scorer turns a checkpoint's numbers into one comparable score. Ships; stdlib only."""

from scorer.run import RunScorer
from scorer.score import (
    FORMULA,
    FORMULA_DPO,
    FORMULA_REWARD,
    CheckpointMetrics,
    Score,
    Validity,
    Weights,
    score,
)
from scorer.selection import (
    DEFAULT_RULE,
    MEAN_OF_THREE,
    RULES,
    Selection,
    mean_of_three,
    order_key,
    ordering,
    select,
)
from scorer.trend import LossTrend, TrendName, Verdict

__all__ = [
    "DEFAULT_RULE",
    "FORMULA",
    "FORMULA_DPO",
    "FORMULA_REWARD",
    "MEAN_OF_THREE",
    "RULES",
    "CheckpointMetrics",
    "LossTrend",
    "RunScorer",
    "Score",
    "Selection",
    "TrendName",
    "Validity",
    "Verdict",
    "Weights",
    "mean_of_three",
    "order_key",
    "ordering",
    "score",
    "select",
]
