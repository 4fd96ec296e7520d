"""What went wrong with a connection, in words: the deepest cause, which says most."""

from __future__ import annotations


def told(error: BaseException) -> str:
    """The innermost cause of `error`, as its type and text."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
        elif error.__context__ is not None and not error.__suppress_context__:
            error = error.__context__
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
