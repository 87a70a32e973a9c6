"""What the authors of CompOFA and Once-for-All published: checkpoints, look-up tables, an accuracy predictor."""
