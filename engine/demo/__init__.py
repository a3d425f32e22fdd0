"""The demo: real training on data that is already on the machine, the docstrings of its own Python."""

from engine.demo.data import make_dataset
from engine.demo.recorded import recordings
from engine.demo.specs import demo_specs

__all__ = ["demo_specs", "make_dataset", "recordings"]
