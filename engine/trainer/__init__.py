"""Trains one job, on the pod. Ships; the only room that may import torch."""
