"""Membership inference attacks on released pairs and networks, their figures, and the search for copies."""
