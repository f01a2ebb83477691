"""How good a stack of synthetic pairs is."""
