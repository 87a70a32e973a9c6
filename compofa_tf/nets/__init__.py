"""What computes: elastic layers, the supernet, plain subnets. Keras."""

import os
import sys

from compofa_tf.errors import InputError

_backend = sys.modules["keras"].config.backend() if "keras" in sys.modules else os.environ.get("KERAS_BACKEND")
if _backend not in (None, "", "tensorflow"):
    raise InputError(
        "The networks of this package are TensorFlow's: set KERAS_BACKEND=tensorflow before Keras is imported. "
        f"Received: the Keras backend {_backend}"
    )
