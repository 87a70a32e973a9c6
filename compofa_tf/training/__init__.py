"""How a family learns."""
