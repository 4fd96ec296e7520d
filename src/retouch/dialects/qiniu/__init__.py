"""Qiniu AI inference (PROTOCOL §1): `requests` is the Dialect; `usage` reads its usage export."""
