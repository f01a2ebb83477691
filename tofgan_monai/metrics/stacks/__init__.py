"""Measures of how good a stack of synthetic pairs is."""
