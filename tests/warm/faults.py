"""What goes wrong in a forked trainer, and when: at a call of a function, before it is carried out.

PODIUM_TEST_FAULTS holds, by attempt, {"at": "module:function", "call": 2, "signal": 9} or, in place of the
signal, "raise": the name of an exception (torch's included) and "saying": its message; or "allocate": as
many bytes, for the real failure of the real allocator. PODIUM_TEST_PATCH is a file that is run before all
else, for what these words can't say.
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import runpy
from typing import Any


def install() -> None:
    """Set the trap of this attempt, if there is one; become another user, if that is asked."""
    if patch := os.environ.get("PODIUM_TEST_PATCH"):
        runpy.run_path(patch)
    plan = json.loads(os.environ.get("PODIUM_TEST_FAULTS", "{}"))
    if fault := plan.get(os.environ.get("PODIUM_ATTEMPT")):
        _trap(fault)
    if uid := int(os.environ.get("PODIUM_TEST_UID", "0")):
        os.setgid(uid)
        os.setuid(uid)


def _trap(fault: dict[str, Any]) -> None:
    module, _, path = fault["at"].partition(":")
    *above, name = path.split(".")
    place = importlib.import_module(module)
    for part in above:
        place = getattr(place, part)
    original = getattr(place, name)
    calls = 0

    def trapped(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == fault.get("call", 1):
            if "signal" in fault:
                os.kill(os.getpid(), fault["signal"])
            elif "allocate" in fault:
                _allocate(fault["allocate"])
            else:
                raise _exception(fault["raise"])(fault.get("saying", "a fault"))
        return original(*arguments, **options)

    setattr(place, name, trapped)


def _allocate(size: int) -> None:
    import torch

    torch.empty(size, dtype=torch.uint8)


def _exception(name: str) -> Any:
    import torch

    return getattr(builtins, name, None) or getattr(torch, name)
