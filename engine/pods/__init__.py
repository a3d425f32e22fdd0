"""Where jobs run, seen from the laptop."""
