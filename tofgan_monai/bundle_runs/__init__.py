"""Finds the folders of bundles, and runs the configurations in them."""
