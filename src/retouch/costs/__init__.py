"""What Attempts cost, what they may cost, and whether what is written of it holds. Pure."""
