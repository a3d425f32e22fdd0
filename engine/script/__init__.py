"""Runs and reads any script: its log lines and its growing CSV and JSON Lines files become events.

Ships; stdlib only. Nobody needs torch here: the script brings what it needs.
"""
