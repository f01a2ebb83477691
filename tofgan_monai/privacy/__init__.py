<<<<<<< HEAD
"""What synthetic pairs, a generator or a network give away of patients, and trainings that bound it."""
=======
"""What synthetic pairs, a generator or a network give away about the patients they were made from."""
>>>>>>> daa082ea5a9c91147cf878e139964492824fc01a
