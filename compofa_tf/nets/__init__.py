"""What computes: elastic layers, the supernet, plain subnets. Keras."""
