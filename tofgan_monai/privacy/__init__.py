"""What synthetic data and networks give away of patients, and trainings that bound it."""
