"""Files as they must be: read with suspicion, written whole and durably, one run at a time."""
