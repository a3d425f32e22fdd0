"""The garbage collector rests while libraries are loaded: it would go over them again and again meanwhile.

What was loaded lives as long as the process, and is left out of all later collections, also of those that
`memory.free` asks for around predictions. Measured: a fifth of the time of loading, 0.3 s a collection.
"""

from __future__ import annotations

import gc
from functools import cache


def begin() -> None:
    """Before anything heavy is loaded; `end` must follow."""
    gc.disable()


def end() -> None:
    """Once everything is loaded, and before a model is: models must be found again when they are given up."""
    _leave_out()
    gc.enable()


@cache
def _leave_out() -> None:
    gc.freeze()
