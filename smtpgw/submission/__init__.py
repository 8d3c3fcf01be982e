"""From a submitted message to Cakemail's answers."""
