"""Programs that run on a pod, sent as text with the command: nothing needs to be there but Python 3.7.

Each reads one line of JSON from stdin, then bytes if it takes some, and answers on stdout.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final

_LOOKING_FOR_PACKAGES: Final = ("environment", "machine")
_PRELUDES: Final = dict.fromkeys(("place", "sums", "unload"), "files")
"""What is sent before a program: it uses those names without importing them."""


@cache
def source(name: str) -> bytes:
    """The text of the program of that name."""
    return (resources.files(__name__) / f"{name}.py").read_bytes()


def invocation(name: str, python: str = "python3") -> tuple[list[str], bytes]:
    """The command that runs a program, and the bytes that its stdin begins with: the text itself."""
    texts = [source(each) for each in (_PRELUDES.get(name), name) if each]
    reads = ";".join(f"exec(sys.stdin.buffer.read({len(text)}))" for text in texts)
    # Without site-packages it starts in half the time; only what looks for packages needs them.
    alone = [] if name in _LOOKING_FOR_PACKAGES else ["-I", "-S"]
    return [python, *alone, "-u", "-c", f"import sys;{reads}"], b"".join(texts)
