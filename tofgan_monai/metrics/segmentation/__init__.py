"""Functions that measure how well the vessels of a volume were segmented."""
