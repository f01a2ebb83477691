<<<<<<< HEAD
"""What synthetic pairs, a generator or a network give away about the patients they were made from."""
=======
"""What synthetic data and networks give away of patients, and trainings that bound it."""
>>>>>>> 13b8e015563d18fdf98b7d48809a95c632ad5819
