"""Contains the MONAI Label app: its network segments a clinic's studies and is trained further on corrected labels."""
