"""Membership inference attacks on released image-label pairs and networks, their risk figures, and the copy search."""
