"""The MONAI Label app: segments a clinic's studies and learns from its corrections; see docs/how-to/monailabel.md."""
