"""Looking at what was made: the gallery, its marks, the costs page, and the loopback server.

`report/` is plain files that any browser opens from disk; `retouch review` serves the same pages
with two things more: they are live while a run goes on, and marks are written at once. Only the
ledger and the pictures are read; the one thing written beside `report/` is `review.jsonl`.
"""
