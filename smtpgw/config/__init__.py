"""Settings and maps: what an operator configures."""
