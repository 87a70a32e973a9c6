"""``python -m compofa_tf`` is the command ``compofa``."""

from compofa_tf.cli.main import main

main()
