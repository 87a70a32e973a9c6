"""What trains, what chooses, what judges: by hash, in shares of each class, with groups and copies together."""

from __future__ import annotations

import numpy as np
import pytest

from compofa_tf.data.folders import group_of
from compofa_tf.data.listing import TEST, TRAIN, VAL, Listing
from compofa_tf.data.pictures import Finding
from compofa_tf.data.splitting import split
from compofa_tf.errors import InputError


def listed(labels, *, roles=None, groups=None, digests=None):
    count = len(labels)
    listing = Listing(
        name="set",
        classes=tuple("abc")[: max(labels) + 1],
        items=[b""] * count,
        names=[f"{i}.jpg" for i in range(count)],
        labels=np.asarray(labels, np.int32),
        roles=np.asarray(roles if roles is not None else [TRAIN] * count, np.int8),
        has_val=VAL in (roles or ()),
        groups=groups,
    )
    return listing, [Finding("PNG", 8, 8, digest=digests[i] if digests else str(i)) for i in range(count)]


def shares(*listed_set, val=0.2, test=0.0, seed=0):
    return split(*listed_set, val_fraction=val, test_fraction=test, seed=seed)


def test_each_class_gives_its_share_to_validation_and_test():
    labels = [0] * 100 + [1] * 20
    ids = shares(*listed(labels), test=0.3)
    assert [np.bincount(np.asarray(labels)[i]).tolist() for i in ids] == [[50, 10], [20, 4], [30, 6]]
    assert len(set(np.concatenate(ids))) == 120
    # Setting a test aside leaves the choice of validation as it was.
    np.testing.assert_array_equal(ids[1], shares(*listed(labels))[1])


def test_named_validation_and_test_stay_as_they_are():
    roles = [TRAIN] * 8 + [VAL] * 2 + [TEST] * 2
    train, val, test = shares(*listed([0, 1] * 6, roles=roles), test=0.5)
    assert (train.tolist(), val.tolist(), test.tolist()) == (list(range(8)), [8, 9], [10, 11])
    train, val, test = shares(*listed([0, 1] * 6, roles=[TRAIN] * 8 + [TEST] * 4), test=0.5)
    assert test.tolist() == [8, 9, 10, 11] and len(val) == 2


def test_groups_stay_together():
    labels = [0] * 40 + [1] * 40
    groups = [f"{label}/{i // 4}" for i, label in enumerate(labels)]
    for ids in (shares(*listed(labels, groups=groups), test=0.2),):
        sides = [{groups[i] for i in side} for side in ids]
        assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
        assert [len(side) for side in ids] == [48, 16, 16]


def test_a_group_of_two_classes_stays_together():
    labels = [0, 1] * 12
    groups = [str(i // 4) for i in range(24)]
    train, val, _ = shares(*listed(labels, groups=groups))
    assert not {groups[i] for i in train} & {groups[i] for i in val}


def test_copies_of_a_picture_stay_together():
    digests = [str(i // 2) for i in range(40)]
    train, val, _ = shares(*listed([0] * 20 + [1] * 20, digests=digests))
    assert not {digests[i] for i in train} & {digests[i] for i in val}
    # Where a class is nothing but copies of one, they are shared out all the same.
    train, val, _ = shares(*listed([0] * 4 + [1] * 4, digests=["x"] * 4 + list("abcd")))
    assert (len(train), len(val)) == (6, 2)


def test_unusable_pictures_take_part_in_nothing():
    listing, findings = listed([0] * 5 + [1] * 5)
    findings[0] = Finding(reason="broken")
    assert 0 not in np.concatenate(shares(listing, findings))


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 0, 1], {}, r"'b' has 1 usable image\(s\); training and validation need one each"),
        ([0, 0, 0, 1, 1], {"test": 0.1}, r"'b' has 2 usable image\(s\); training, validation and test need"),
    ],
)
def test_classes_that_are_too_small_are_named(labels, options, message):
    with pytest.raises(InputError, match=message):
        shares(*listed(labels), **options)


def test_a_class_in_one_group_is_named():
    with pytest.raises(InputError, match=r"'b' has 3 usable image\(s\) in 1 group\(s\)"):
        shares(*listed([0, 0, 0, 1, 1, 1], groups=["x", "y", "z", "v", "v", "v"]))


@pytest.mark.parametrize(
    ("name", "folder", "prefix"),
    [
        ("cat/walk_017.jpg", "cat", "cat/walk"),
        ("cat/walk_018.jpg", "cat", "cat/walk"),
        ("cat/a/IMG-20260101 (3).jpg", "cat/a", "cat/a/IMG-20260101 (3)"),
        ("cat/0001.png", "cat", "cat/0001"),
    ],
)
def test_groups_by_folder_and_by_prefix(name, folder, prefix):
    assert (group_of(name, "folder"), group_of(name, "prefix")) == (folder, prefix)
