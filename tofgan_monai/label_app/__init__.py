"""The MONAI Label app: it segments a clinic's studies and is trained further on corrected labels."""
