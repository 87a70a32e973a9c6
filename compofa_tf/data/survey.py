"""What a data set is, said out loud before anything is trained on it. No TensorFlow."""

from __future__ import annotations

import functools
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compofa_tf.data import pictures, sources, splitting, store
from compofa_tf.data.card import DataCard
from compofa_tf.data.listing import ROLES, Listing
from compofa_tf.data.pictures import Finding
from compofa_tf.recipes.settings import DataSettings

_NAMED = 3
_CLASSES_SHOWN = 24
_UNEVEN = 3.0
_FEW = 20


@dataclass(frozen=True, eq=False)
class Survey:
    """A data set as it was understood.

    Attributes:
      source: Where it comes from.
      listing: What the source found.
      findings: What the check found of each picture.
      settings: The data part of a recipe.
      ids: Positions of the pictures that train, that choose, that judge.
    """

    source: str
    listing: Listing
    findings: Sequence[Finding]
    settings: DataSettings
    ids: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def of(cls, source: str, settings: DataSettings, *, seed: int = 0, workdir: Path | None = None) -> Survey:
        """Looks at a source: lists its pictures, checks each, and splits them.

        Args:
          source: See ``sources.find``.
          settings: The data part of a recipe; its own ``source`` is not looked at.
          seed: Decides what trains, chooses and judges where the source does not.
          workdir: The work directory, where findings are kept.

        Raises:
          InputError: If the source cannot be used, see ``sources.find`` and ``splitting.split``.
        """
        listing, findings = sources.find(source, settings, workdir=workdir)
        return cls.split(source, listing, findings, settings, seed=seed)

    @classmethod
    def split(
        cls, source: str, listing: Listing, findings: Sequence[Finding], settings: DataSettings, *, seed: int
    ) -> Survey:
        """Returns what is known of a source whose pictures are checked; see ``of``."""
        sources.require_few_bad(listing, findings, settings.max_bad_share)
        shares = {"val_fraction": settings.val_fraction, "test_fraction": settings.test_fraction}
        return cls(source, listing, findings, settings, splitting.split(listing, findings, **shares, seed=seed))

    def card(self) -> DataCard:
        """Returns the data card; a relative path counts from the current directory."""
        rows = sorted(f"{name}\t{one.size}\n" for name, one in zip(self.listing.names, self.findings))
        return DataCard(
            source=self.source,
            relative_to=os.getcwd(),
            classes=self.listing.classes,
            counts={role: row.tolist() for role, row in zip(ROLES, self.counts)},
            fingerprint=hashlib.sha256("".join(rows).encode()).hexdigest()[:16],
            reading=self.listing.reading,
        )

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """Usable pictures per role and class: int64 ``[3, classes]``."""
        labels, classes = self.listing.labels, len(self.listing.classes)
        return np.stack([np.bincount(labels[ids], minlength=classes) for ids in self.ids])

    @property
    def unusable(self) -> tuple[tuple[str, str], ...]:
        """(name, reason) of the pictures that cannot be used."""
        return sources.skipped(self.listing, self.findings)

    def copies(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Pairs of names of the same content: in two splits, and under two classes."""
        places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for role, ids in enumerate(self.ids):
            for i in ids.tolist():
                places[self.findings[i].digest].append((role, i))
        labels, names = self.listing.labels, self.listing.names
        across, torn = [], []
        for same in places.values():
            (role, i), *others = same
            across += [(names[i], names[j]) for other, j in others if other != role]
            torn += [(names[i], names[j]) for _, j in others if labels[j] != labels[i]]
        return across, torn

    def lines(self) -> list[str]:
        """What to say, a line each."""
        found = [f"{self.source}: {self._size()} ({self.listing.reading})."]
        if self.listing.classes:
            found += self._classes()
        found += [self._pictures(), *self._turned(), *self._ignored(), *self._unusable()]
        if self.listing.classes:
            found += [*self._copies(), *self._shares()]
        return [*found, self._memory()]

    def _size(self) -> str:
        usable = sum(map(len, self.ids))
        classes = f"{len(self.listing.classes)} classes, " if self.listing.classes else ""
        return f"{classes}{usable:,} pictures"

    def _classes(self) -> list[str]:
        names = [role for role, ids in zip(ROLES, self.ids) if len(ids)]
        counts = self.counts[[ROLES.index(role) for role in names]]
        chosen = list(range(len(self.listing.classes)))
        if len(chosen) > _CLASSES_SHOWN:
            chosen = sorted(
                np.argsort(-counts[0], kind="stable")[[*range(_CLASSES_SHOWN // 2), *range(-_CLASSES_SHOWN // 2, 0)]]
            )
        width = max(map(len, ["all", *(self.listing.classes[i] for i in chosen)]))
        rows = [
            ("class", names),
            *((self.listing.classes[i], counts[:, i]) for i in chosen),
            ("all", counts.sum(axis=1)),
        ]
        lines = [f"  {name:{width}}" + "".join(f"{cell:>9}" for cell in cells) for name, cells in rows]
        if len(chosen) < len(self.listing.classes):
            lines.append(f"  (the {_CLASSES_SHOWN // 2} largest and smallest classes are shown)")
        automatic = (
            [] if self.listing.has_val else [f"val: {self.settings.val_fraction:.0%} of each class, chosen by name"]
        )
        if self.settings.test_fraction and len(self.ids[2]):
            automatic.append(f"test: {self.settings.test_fraction:.0%}")
        if automatic:
            by = self.settings.group_by if self.settings.group_by != "none" else "group"
            grouped = f", kept together by {by}" if self.listing.groups else ""
            lines.append(f"  {'; '.join(automatic)}{grouped}.")
        if not len(self.ids[2]):
            lines.append(
                "  No test split: what is chosen on val is judged by it, too; data.test_fraction sets some aside."
            )
        return lines

    def _pictures(self) -> str:
        used = [one for one in self.findings if not one.reason]
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in Counter(one.format for one in used).most_common())
        sides = np.asarray([min(one.width, one.height) for one in used])
        pixels = max(one.width * one.height for one in used)
        span = f"{sides.min()} px"
        if sides.max() > sides.min():
            span = f"{sides.min()} to {sides.max()} px, half of them up to {int(np.median(sides))}"
        return f"Pictures: {kinds}; shorter side {span}; largest {pixels / 1e6:.3g} megapixels."

    def _turned(self) -> list[str]:
        turned = sum(1 for one in self.findings if not one.reason and one.orientation != 1)
        if not turned:
            return []
        done = (
            "turned upright" if self.settings.exif_orientation else "left as stored, for data.exif_orientation is off"
        )
        return [f"EXIF says that {turned:,} pictures are turned; they are {done}."]

    def _ignored(self) -> list[str]:
        return [
            f"Ignored: {count:,} {reason}: {_some(names)}."
            for reason, (count, names) in self.listing.ignored_by_reason.items()
        ]

    def _unusable(self) -> list[str]:
        bad = self.unusable
        if not bad:
            return []
        return [f"Unusable: {len(bad):,}, left out: {_some([f'{name} ({reason})' for name, reason in bad])}."]

    def _copies(self) -> list[str]:
        across, torn = self.copies()
        kinds = ((across, "in two splits, so that what is measured is too good"), (torn, "under two classes"))
        return [
            f"Warning: {len(pairs):,} times the same picture {where}: {_some([f'{a} = {b}' for a, b in pairs])}."
            for pairs, where in kinds
            if pairs
        ]

    def _shares(self) -> list[str]:
        train = self.counts[0]
        small, large = int(train.argmin()), int(train.argmax())
        lines, names = [], self.listing.classes
        if train[large] > _UNEVEN * train[small]:
            ratio = train[large] / train[small]
            lines.append(
                f"Uneven: {names[large]} has {ratio:.0f} times as many training pictures as {names[small]} "
                f"({train[large]:,} and {train[small]:,}); top-1 hides the small ones."
            )
        if train[small] < _FEW:
            lines.append(f"Small: {names[small]} has {train[small]} training pictures, the fewest of all.")
        return lines

    def _memory(self) -> str:
        used = [one for one in self.findings if not one.reason]
        todo = set(store.to_prepare(self.findings, self.settings))
        made = store.expected_bytes([self.findings[i] for i in todo], self.settings)
        held = made + sum(one.size for i, one in enumerate(self.findings) if i not in todo)
        sizes = {(one.width, one.height) for one in used}
        decoded = sum(3 * one.width * one.height for one in used) if len(sizes) == 1 and not todo else None
        lead = "Memory: "
        if todo:
            lead += (
                f"{_are(len(todo))} brought into another form once (upright, readable, shorter side at most "
                f"{pictures.ENLARGED * store.wanted_side(self.settings):.0f} px), about {_mib(made)} on disk; "
            )
        limit = store.MEMORY_LIMIT_BYTES
        if not self.settings.cache or held > limit:
            return f"{lead}pictures are read from disk, batch by batch."
        if decoded is not None and decoded <= limit:
            return f"{lead}all pictures are held decoded, about {_mib(held + decoded)}."
        return f"{lead}all pictures are held as files, about {_mib(held)}."


def _are(count: int) -> str:
    return "1 is" if count == 1 else f"{count:,} are"


def _mib(count: int) -> str:
    return f"{max(1, count >> 20):,} MiB"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
