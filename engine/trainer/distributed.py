"""The ranks of a job: processes that train one model together, and agree on everything but their rows."""
from typing import Final
FAILED_FOR_GOOD: Final = 3
AGAIN: Final = 4
LOST: Final = 5
