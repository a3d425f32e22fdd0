"""Reads checkpoints out of output folders, whichever tool wrote them, and ranks them with the scorer."""

from engine.foreign.ranking import Ranking, Row, rank
from engine.foreign.reader import read_run
from engine.foreign.run import ForeignCheckpoint, ForeignRun

__all__ = ["ForeignCheckpoint", "ForeignRun", "Ranking", "Row", "rank", "read_run"]
