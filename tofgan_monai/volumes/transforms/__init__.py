"""MONAI dictionary transforms for TOF-MRA that MONAI itself lacks."""
