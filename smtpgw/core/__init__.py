"""Plain data and pure helpers that every package may use; no I/O."""
