"""The page that shows a work directory. No TensorFlow."""
