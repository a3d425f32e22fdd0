"""The supervisor keeps a job's trainer alive, on its own, whoever is watching. Ships; stdlib only."""
