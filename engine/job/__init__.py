"""What laptop and pod must agree on: the spec, the folder, the events, the data. Ships."""
