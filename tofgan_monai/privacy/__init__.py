"""What synthetic pairs, a generator or a network give away of patients, and trainings that bound it."""
