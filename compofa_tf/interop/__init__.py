"""Reading what the PyTorch implementations published."""
