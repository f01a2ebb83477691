"""Functions that find, read, check, split and prepare the volumes of a cohort."""
