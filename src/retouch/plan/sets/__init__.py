"""Data sets that come with labels, a format a file: each `read` names pictures with all that the
set says of them, in an order of its own that never changes."""
