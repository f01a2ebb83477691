"""From files to checked, split and prepared volumes."""
