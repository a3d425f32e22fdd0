"""Pure functions over records: comparison, recommendation, filters, health. No I/O."""
