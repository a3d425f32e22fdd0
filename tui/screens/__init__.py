"""The three screens and the dialogs; each is a function of the snapshot."""
