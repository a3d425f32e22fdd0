"""The terminal application: three screens, the commands, and the command line."""
