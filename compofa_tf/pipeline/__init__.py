"""What a command does to a work directory, a module each."""
