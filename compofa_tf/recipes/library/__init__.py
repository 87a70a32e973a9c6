"""The named recipes, a file each."""
