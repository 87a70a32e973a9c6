"""The weight-sharing supernet: all subnets of a space in one Keras model, the subnet an argument of ``call``."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compofa_tf import families, files
from compofa_tf.errors import InputError
from compofa_tf.nets import elastic, layers
from compofa_tf.space import Arch, Space
from compofa_tf.space.stages import Slot
from compofa_tf.space.units import Unit
from compofa_tf.workdir import SUPERNET_NAME, WEIGHTS_NAME, WorkDir

_Compute = Callable[["Unit | None"], tf.Tensor]


class Supernet(keras.Model):
    """Every subnet of a space, sharing weights (CompOFA, arXiv:2104.12642).

    >>> net = Supernet(compofa_tf.families.mobilenet_v3(classes=10))
    >>> net(images, net.space.smallest(128))              # static graph of one subnet
    >>> net(images, tf.constant(net.space.encode(arch)))  # inside a tf.function: one graph for all subnets
    >>> for arch in archs:
    ...     net.inference_function(images, net.space.encode(arch))
    >>> assert net.trace_count == 1                       # one trace served them all

    Call arguments:
      images: float32 ``[batch, height, width, 3]``, already normalised. Height and width may be unknown in a graph.
      arch: An ``Arch``, or its code: int32 ``[space.code_size]``. With a code each elastic slot is a ``tf.switch_case``
        over its few options with static channel counts, so that one trace serves the whole space. Its entries are not
        checked (take them from ``space.encode``), and the resolution in it says nothing: the images have theirs.
      training: Whether batch norm uses the statistics of the batch; False: the stored ones.
      rate: If given, batch statistics are used and the stored ones of the leading channels move towards them.

    Returns logits, float32 ``[batch, classes]``.

    Args:
      space: The space. All variables exist when the constructor returns.
      seed: Seed of the initial weights.

    Attributes:
      only: The one subnet that has weights, where they were imported from an extracted one; else None.
      trace_count: How often the graph of the supernet (``inference_function``) was traced: 0 before its first call,
        then 1, however many subnets and image sizes it has run.
    """

    def __init__(self, space: Space, *, seed: int = 0, name: str = "supernet") -> None:
        super().__init__(name=name, dtype=layers.DTYPE)
        self.space = space
        self.seed = seed
        self.only: Arch | None = None
        self.slot_layers = [elastic.ElasticUnit(slot, epsilon=space.epsilon, seed=seed) for slot in space.slots]
        self.built = True

    def __call__(self, images: Any, arch: Arch | Any, **kwargs: Any) -> tf.Tensor:
        """Lets ``arch`` be given by position, where Keras takes only tensors; errors come without Keras's additions.

        Raises:
          InputError: If the images have another shape, or the arch or code is of another space.
        """
        shape = np.shape(images)
        if len(shape) != 4 or shape[-1] != 3:
            raise InputError(f"Images must be [batch, height, width, 3]. Received: shape={tuple(shape)}")
        return super().__call__(images, arch=self._checked(arch), **kwargs)

    def call(
        self,
        images: tf.Tensor,
        arch: Arch | tf.Tensor,
        training: bool = False,
        rate: tf.Tensor | float | None = None,
    ) -> tf.Tensor:
        """Runs one subnet; see the class."""
        return self.run_slots(images, arch, slice(None), training=training, rate=rate)

    def run_slots(
        self,
        x: tf.Tensor,
        arch: Arch | tf.Tensor,
        slots: slice,
        *,
        training: bool = False,
        rate: tf.Tensor | float | None = None,
    ) -> tf.Tensor:
        """Runs consecutive slots (a slice of ``space.slots``) on the map that the slots before them wrote."""
        arch = self._checked(arch)
        choose = self._by_arch(arch) if isinstance(arch, Arch) else self._by_code(arch)
        for slot, layer in zip(self.space.slots[slots], self.slot_layers[slots]):
            x = choose(slot, functools.partial(_compute, layer, x, training, rate))
        return x

    def _checked(self, arch: Arch | Any) -> Arch | tf.Tensor:
        if isinstance(arch, Arch):
            return self.space.check(arch)
        code = tf.convert_to_tensor(arch)
        if not code.shape.is_compatible_with([self.space.code_size]) or code.dtype != tf.int32:
            raise InputError(
                f"A code of this space is int32 [{self.space.code_size}]. Received: {code.dtype.name} {code.shape}"
            )
        return code

    def _by_arch(self, arch: Arch) -> Callable[[Slot, _Compute], tf.Tensor]:
        units = {unit.name: unit for unit in self.space.units(arch)}
        return lambda slot, compute: compute(units.get(slot.name))

    def _by_code(self, code: tf.Tensor) -> Callable[[Slot, _Compute], tf.Tensor]:
        position = {slot.name: i for i, slot in enumerate(self.space.elastic_slots)}

        def choose(slot: Slot, compute: _Compute) -> tf.Tensor:
            if not slot.elastic:
                return compute(slot.options[0])
            branches = [functools.partial(compute, unit) for unit in slot.options]
            return tf.switch_case(code[position[slot.name]], branches, name=slot.name)

        return choose

    def calibration_step(self, images: tf.Tensor, arch: Arch | tf.Tensor, rate: tf.Tensor | float) -> tf.Tensor:
        """Runs with batch statistics and moves the stored ones by ``rate``; see ``subnet.calibrate``."""
        return self(images, arch, training=False, rate=rate)

    @functools.cached_property
    def inference_function(self) -> Any:
        """``call`` with stored statistics as one compiled function for all subnets and image sizes."""
        images = tf.TensorSpec([None, None, None, 3], tf.float32, "images")
        code = tf.TensorSpec([self.space.code_size], tf.int32, "code")
        return tf.function(lambda images, code: self(images, code), input_signature=(images, code), autograph=False)

    @property
    def trace_count(self) -> int:
        """How often ``inference_function`` was traced; see the class."""
        return int(self.inference_function.experimental_get_tracing_count())

    @functools.cached_property
    def variables_by_name(self) -> dict[str, Any]:
        """Every variable under its stable name ``unit/part/tensor``."""
        return {
            f"{layer.name}/{name}": variable
            for layer in self.slot_layers
            for name, variable in layer.variables_by_name().items()
        }

    @property
    def kernel_variables(self) -> list[Any]:
        """The variables that weight decay acts on: kernels and kernel transforms, no bias and no batch norm."""
        free = ("bias", "gamma", "beta", "moving_mean", "moving_variance")
        return [v for name, v in self.variables_by_name.items() if name.rsplit("/", 1)[1] not in free]

    def layer_of(self, unit: Unit) -> elastic.ElasticUnit:
        """Returns the layer that holds the weights of a unit."""
        return next(layer for layer in self.slot_layers if layer.name == unit.name)

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns a copy of every variable by stable name."""
        return {name: variable.numpy().copy() for name, variable in self.variables_by_name.items()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Sets every variable; nothing is changed when a name is missing, extra or of another shape.

        Raises:
          InputError: Naming what does not fit.
        """
        variables = self.variables_by_name
        missing, extra = sorted(variables.keys() - state.keys()), sorted(state.keys() - variables.keys())
        arrays = {name: np.asarray(value) for name, value in state.items()}
        wrong = [
            f"{name} {arrays[name].shape} instead of {tuple(variable.shape)}"
            for name, variable in variables.items()
            if name in arrays and arrays[name].shape != tuple(variable.shape)
        ]
        kinds = [name for name, array in arrays.items() if array.dtype.kind not in "fiu"]
        for word, names in (
            ("are missing", missing),
            ("are not of this space", extra),
            ("have another shape", wrong),
            ("are not numbers", kinds),
        ):
            if names:
                shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
                raise InputError(f"These weights do not fit the space {self.space!r}: {shown} {word}.")
        for name, variable in variables.items():
            variable.assign(arrays[name])

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        recipe_hash: str | None = None,
        training_hash: str | None = None,
        **extra: Any,
    ) -> None:
        """Writes ``weights.npz`` and ``supernet.json`` to a folder, each atomically.

        Args:
          folder: Created when absent.
          recipe_hash: ``Recipe.hash`` of the run, recorded in ``supernet.json``.
          training_hash: ``Recipe.training_hash`` of the training that the weights come from, likewise.
          **extra: JSON-serialisable entries recorded there (labels, normalisation).
        """
        arrays: dict[str, Any] = self.get_state()
        with files.atomic_write(Path(folder) / WEIGHTS_NAME) as temporary:
            np.savez(temporary, **arrays)
        digest = files.sha256(Path(folder) / WEIGHTS_NAME)
        only = self.space.id(self.only) if self.only else None
        own = {"space": self.space.to_json(), "weights_sha256": digest, "only": only, "training_hash": training_hash}
        files.write_json(Path(folder) / SUPERNET_NAME, {**own, **extra}, kind="supernet", recipe_hash=recipe_hash)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Supernet:
        """Returns the supernet of ``save``, or of a work directory whose training has finished.

        Raises:
          InputError: If there is none, or a file is truncated or does not belong.
        """
        path = Path(folder)
        path = path if (path / SUPERNET_NAME).exists() else WorkDir(path).supernet
        if not (path / SUPERNET_NAME).exists():
            raise InputError(
                f"There is no trained supernet in {folder}; run `compofa train` with this work directory first."
            )
        description = files.read_json(path / SUPERNET_NAME, kind="supernet")
        weights = path / WEIGHTS_NAME
        state = files.read_arrays(weights)
        if files.sha256(weights) != description.get("weights_sha256"):
            raise InputError(f"{weights} is not the file that {path / SUPERNET_NAME} describes; train or save again.")
        net = cls(families.from_json(description.get("space")))
        net.set_state(state)
        if description.get("only"):
            net.only = net.space.parse(description["only"])
        return net


def _compute(layer: Any, x: tf.Tensor, training: bool, rate: tf.Tensor | float | None, unit: Unit | None) -> tf.Tensor:
    if unit is None:
        return tf.identity(x)
    if x.shape[-1] is None and hasattr(unit, "in_channels"):  # after a slot of elastic width
        x = tf.ensure_shape(x, [*x.shape[:-1], unit.in_channels])
    return layer(x, unit=unit, training=training, rate=rate)
