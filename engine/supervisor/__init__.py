"""Keeps the trainer alive and owns the clock and the money on the pod. Ships; stdlib only."""
