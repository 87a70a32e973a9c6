"""Which subnet: fronts, exact search, evolution. No TensorFlow."""
