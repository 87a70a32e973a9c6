"""Image classification sets of TensorFlow Datasets, taken with their images still encoded."""

from __future__ import annotations

import os
import socket
import tarfile
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from compofa_tf import files
from compofa_tf.data import store
from compofa_tf.data.listing import TEST, TRAIN, VAL, Ignored, Listing
from compofa_tf.errors import InputError
from compofa_tf.workdir import WorkDir

_ROLES = {"train": TRAIN, "validation": VAL, "val": VAL, "test": TEST}
_PER_FOLDER = 1000
# What downloads and archives fail with, and what TFDS raises where data must be fetched by hand (AssertionError).
_FAILURES = (
    OSError,
    EOFError,
    ImportError,
    AssertionError,
    ValueError,
    tf.errors.OpError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


def list_tfds(name: str, *, cache: bool = True, workdir: Path | None = None) -> Listing:
    """Downloads (where needed) and lists a set by its TFDS name, such as ``oxford_flowers102`` or ``cifar10:3.0.2``.

    Sets are looked for, and downloaded to, the folder in the environment variable ``TFDS_DATA_DIR``, else
    ``~/tensorflow_datasets``, as TFDS always does. The training split is ``train``, the one for validation
    ``validation`` or ``val``, the test is ``test`` where its images have labels. TFDS records cannot be read in any
    order, so that small sets are held in memory, and larger ones (``store.MEMORY_LIMIT_BYTES``) are unpacked once into
    files under ``workdir``.

    Args:
      name: TFDS name, with ``/config`` and ``:version`` as TFDS takes them.
      cache: Whether the encoded images may be kept in memory.
      workdir: Where large sets are unpacked.

    Raises:
      InputError: If the set is unknown, cannot be downloaded, or is not an image classification set.
    """
    builder = _prepared(name)
    image, label = _features(builder, name)
    splits = [split for split in _ROLES if split in builder.info.splits]
    if "train" not in splits:
        raise InputError(f"The set has no train split, only {sorted(builder.info.splits)}. Received: tfds:{name}")
    records = _records(builder, splits, image, label)
    size = sum(builder.info.splits[split].num_bytes for split in splits)
    if cache and size <= store.MEMORY_LIMIT_BYTES:
        items, labels, names = (list(column) for column in zip(*records))
    else:
        if workdir is None:
            raise InputError(
                f"A set of {size >> 20} MiB is unpacked into the work directory; give one. Received: tfds:{name}"
            )
        items, labels, names = _unpack(
            records, WorkDir(workdir).unpacked_images, name=builder.info.full_name, splits=splits
        )
    roles = np.asarray([_ROLES[text.partition("/")[0]] for text in names], np.int8)
    unlabelled = np.asarray(labels, np.int32) < 0
    if (unlabelled & (roles != TEST)).any():
        raise InputError(f"Some images of the splits {splits} have no label. Received: tfds:{name}")
    kept = np.flatnonzero(~unlabelled)
    left_out = (Ignored("test", "without a label", int(unlabelled.sum())),) if unlabelled.any() else ()
    return Listing(
        name=builder.info.name,
        classes=tuple(builder.info.features[label].names),
        items=[items[i] for i in kept],
        names=[names[i] for i in kept],
        labels=np.asarray(labels, np.int32)[kept],
        roles=roles[kept],
        has_val=bool((roles == VAL).any()),
        reading=f"splits: {', '.join(splits)}",
        ignored=left_out,
    )


def _prepared(name: str) -> Any:
    import tensorflow_datasets as tfds

    data_dir = os.environ.get("TFDS_DATA_DIR")
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise InputError(
            "TensorFlow Datasets knows no set of that name, and its data folder "
            f"({data_dir or '~/tensorflow_datasets'}) holds none. Received: tfds:{name}"
        ) from None
    except _FAILURES as error:
        raise InputError(
            f"TensorFlow Datasets cannot open the set ({_first_line(error)}). Received: tfds:{name}"
        ) from error
    if builder.is_prepared():
        return builder
    try:
        _require_network(builder, name)
        # Asking Google's bucket for a ready-made copy costs minutes where there is no network.
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    except InputError:
        raise
    except ImportError as error:
        raise InputError(
            f"Preparing the set needs a Python package that is not installed ({_first_line(error)}); install it with "
            f"pip. Received: tfds:{name}"
        ) from error
    except (*_FAILURES, *_download_errors()) as error:
        raise InputError(
            f"The set could not be downloaded and prepared ({_first_line(error)}); nothing half-made was kept: run the "
            f"same command again, or copy the prepared set to {builder.data_dir}. Received: tfds:{name}"
        ) from error
    return builder


def _download_errors() -> tuple[type[Exception], ...]:
    from tensorflow_datasets.core.download import download_manager, extractor, util

    return (
        download_manager.NonMatchingChecksumError,
        extractor.ExtractError,
        extractor.UnsafeArchiveError,
        util.DownloadError,
    )


def _require_network(builder: Any, name: str) -> None:
    """Says at once what TFDS would say after minutes of retries: that there is no network."""
    hosts = {urllib.parse.urlparse(url).hostname for url in builder.url_infos or ()} - {None}
    if not hosts or urllib.request.getproxies():
        return
    for host in sorted(hosts):
        try:
            socket.getaddrinfo(host, None)
            return
        except OSError:
            continue
    raise InputError(
        f"The set is not in {builder.data_dir} and cannot be downloaded: there is no network (cannot find "
        f"{sorted(hosts)[0]}); connect, or copy the prepared set there. Received: tfds:{name}"
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()[:200].rstrip('.')}" if lines else type(error).__name__


def _features(builder: Any, name: str) -> tuple[str, str]:
    """Returns the names of the image and of the class feature."""
    import tensorflow_datasets as tfds

    features = dict(builder.info.features)
    order = [key for key in builder.info.supervised_keys or () if isinstance(key, str)] + sorted(features)
    pictures = [key for key in order if type(features.get(key)) is tfds.features.Image]
    labels = [key for key in order if isinstance(features.get(key), tfds.features.ClassLabel)]
    if not pictures or not labels:
        raise InputError(f"The set is not one of images with a class label each. Received: tfds:{name}")
    if features[pictures[0]].np_dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"Images of {np.dtype(features[pictures[0]].np_dtype)} are not pictures to classify. Received: tfds:{name}"
        )
    return pictures[0], labels[0]


def _records(builder: Any, splits: list[str], image: str, label: str) -> Iterator[tuple[bytes, int, str]]:
    """Yields (encoded image, label, printable name) in the order of the files."""
    import tensorflow_datasets as tfds

    for split in splits:
        dataset = builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders={image: tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(interleave_cycle_length=1),
        )
        dataset = dataset.map(lambda record: (record[image], record[label]))
        for i, (encoded, number) in enumerate(dataset.as_numpy_iterator()):
            yield encoded, int(number), f"{split}/{i}"


def _unpack(
    records: Iterator[tuple[bytes, int, str]], folder: Path, *, name: str, splits: list[str]
) -> tuple[list[str], list[int], list[str]]:
    """Writes every image into a file of its own, once; returns paths, labels and names."""
    done = folder / "unpacked.json"
    listed: dict[str, Any] = {"name": name}
    if done.exists():
        listed = files.read_json(done, kind="unpacked_images")
    if listed["name"] != name:
        raise InputError(f"{folder} holds images of {listed['name']}; use another work directory for {name}.")
    if listed.get("splits") == splits:
        labels, names = listed["labels"], listed["names"]
    else:
        labels, names = [], []
        for encoded, number, text in records:
            path = _unpacked_path(folder, text)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded)
            labels.append(number)
            names.append(text)
        content = {"name": name, "splits": splits, "labels": labels, "names": names}
        files.write_json(done, content, kind="unpacked_images")
    return [str(_unpacked_path(folder, text)) for text in names], labels, names


def _unpacked_path(folder: Path, name: str) -> Path:
    split, number = name.split("/")
    return folder / split / f"{int(number) // _PER_FOLDER:04d}" / f"{int(number):08d}"
