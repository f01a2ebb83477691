"""What synthetic pairs, a generator or a network give away about the patients they were made from."""
