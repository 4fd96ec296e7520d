"""One run on many machines: what its workers share, and who runs them."""
