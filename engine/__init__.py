"""The engine trains (on the pod) and controls (from the laptop).

This file ships to the pod with the rooms `job`, `supervisor` and `trainer`, so it imports nothing.
"""
