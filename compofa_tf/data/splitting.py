"""Which pictures train, which choose, which judge. No TensorFlow."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from compofa_tf.data.listing import TEST, TRAIN, VAL, Listing
from compofa_tf.data.pictures import Finding
from compofa_tf.errors import InputError


def split(
    listing: Listing, findings: Sequence[Finding], *, val_fraction: float, test_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the positions of the usable pictures that train, that choose and that judge: int64 each.

    Where the source names no validation pictures, a share of each class is taken from those for training, and likewise
    for the test if a share is asked for and the source has none. Which ones is decided by a hash of seed and name, so
    that a picture keeps its side when others come or go. Pictures of one group stay together, and so do copies of
    one picture in a class.

    Args:
      listing: What the source found.
      findings: What the check found of each.
      val_fraction: Share of each class for validation.
      test_fraction: Share of each class for the test; 0 for none.
      seed: Seed of the run.

    Raises:
      InputError: If a class has no picture for training, or too few to be shared out.
    """
    roles = listing.roles.copy()
    good = np.asarray([not finding.reason for finding in findings], bool)
    if not listing.classes:
        if not good.any():
            raise InputError("There is no usable image.")
        return np.flatnonzero(good), np.zeros(0, np.int64), np.zeros(0, np.int64)
    shares = {VAL: 0.0 if listing.has_val else val_fraction, TEST: 0.0 if (roles == TEST).any() else test_fraction}
    if any(shares.values()):
        _share_out(listing, findings, roles, good, {role: share for role, share in shares.items() if share}, seed)
    _require_all(listing, roles, good)
    train, val, test = (np.flatnonzero(good & (roles == role)) for role in (TRAIN, VAL, TEST))
    return train, val, test


def _share_out(
    listing: Listing,
    findings: Sequence[Finding],
    roles: np.ndarray,
    good: np.ndarray,
    shares: dict[int, float],
    seed: int,
) -> None:
    """Gives some of the training pictures other roles: first those for validation, from the other end the test."""
    units = _units(listing, findings, good & (roles == TRAIN))
    for label, name in enumerate(listing.classes):
        own = [unit for unit in units.values() if any(listing.labels[i] == label for i in unit)]
        if listing.groups is None and len(own) <= len(shares):  # copies of one picture
            own = [[i] for unit in own for i in unit]
        count = sum(1 for unit in own for i in unit if listing.labels[i] == label)
        if len(own) <= len(shares):
            parts = "training and validation" if len(shares) == 1 else "training, validation and test"
            groups = f" in {len(own)} group(s)" if count != len(own) else ""
            raise InputError(f"Class {name!r} has {count} usable image(s){groups}; {parts} need one each.")
        order = sorted(own, key=lambda unit: _hash(f"{seed}/{listing.names[unit[0]]}"))
        spare = len(order) - len(shares) - 1
        for (role, share), row in zip(shares.items(), (order, order[::-1])):
            wanted = max(1, round(count * share))
            taken = sum(1 for unit in own for i in unit if listing.labels[i] == label and roles[i] == role)
            for unit in row:
                if taken >= wanted or (taken and not spare):
                    break
                if roles[unit[0]] != TRAIN:
                    continue
                spare -= taken > 0
                taken += sum(1 for i in unit if listing.labels[i] == label)
                roles[list(unit)] = role


def _units(listing: Listing, findings: Sequence[Finding], chosen: np.ndarray) -> dict[str, list[int]]:
    """Positions of the pictures that stay together, in the order of the listing."""
    units: dict[str, list[int]] = {}
    for i in np.flatnonzero(chosen).tolist():
        key = f"{listing.labels[i]}/{findings[i].digest}" if listing.groups is None else listing.groups[i]
        units.setdefault(key, []).append(i)
    return units


def _require_all(listing: Listing, roles: np.ndarray, good: np.ndarray) -> None:
    present = np.bincount(listing.labels[good & (roles == TRAIN)], minlength=len(listing.classes))
    if not present.all():
        raise InputError(f"Class {listing.classes[int(present.argmin())]!r} has no usable training image; add some.")
    if not (good & (roles == VAL)).any():
        raise InputError("There is no usable validation image.")


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
