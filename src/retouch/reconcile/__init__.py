"""Bills against ledgers: read, matched, and what is left unexplained. Pure."""
