"""The controller carries out what the user wants, and reconnects to what goes on without it."""

from engine.controller.controller import Controller
from engine.controller.pods import Pods

__all__ = ["Controller", "Pods"]
