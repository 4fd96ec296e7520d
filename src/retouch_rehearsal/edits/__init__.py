"""The edits: pure functions from pixels to pixels."""
