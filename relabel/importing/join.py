"""Which sample of a manifest a name in somebody's file means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..sources.annotations import IMAGE_SUFFIXES, SPLIT_NAMES
from ..tables import Texts

BY = ("auto", "id", "file", "position")

NOBODY = -1
"""The row of a name that no sample goes by."""

AMBIGUOUS = -2
"""The row of a name that several samples go by."""

_SUFFIX = rf"(?i)([^/])\.(?:{'|'.join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))})$"
_SPLIT_FOLDER = rf"(?i)(?:^|/)(?:{'|'.join(SPLIT_NAMES)})/"

Names = Any
"""An Arrow array of texts."""


class _Forms:
    """The forms of some names that rules compare, each worked out once."""

    def __init__(self, names: Names) -> None:
        self.names = names

    @cached_property
    def path(self) -> Names:
        """Paths in one spelling: forward slashes, no `./`."""
        names = self.names
        if _any(pc.match_substring(names, "\\")):
            names = pc.replace_substring(names, "\\", "/")
        if _any(pc.match_substring(names, "//")) or _any(pc.match_substring(names, "./")):
            names = pc.replace_substring_regex(pc.replace_substring_regex(names, r"/(?:\.?/)+", "/"), r"^\./", "")
        return names

    @cached_property
    def stem(self) -> Names:
        """Paths without the suffix of an image."""
        return pc.replace_substring_regex(self.path, _SUFFIX, r"\1")

    def tail(self, parts: int) -> Names:
        """The last parts of a path without the image's suffix; empty where it has fewer."""
        pieces = pc.split_pattern(self.stem, "/", max_splits=parts, reverse=True)
        count = pc.list_value_length(pieces)
        tails = pc.binary_join(pc.list_slice(pieces, 1, parts + 1), "/")
        whole_or_none = pc.if_else(pc.equal(count, parts), self.stem, "")
        return pc.if_else(pc.equal(count, parts + 1), tails, whole_or_none)

    @cached_property
    def unaligned(self) -> Names:
        """The base name without `_aligned`, which RAF-DB adds to its aligned images."""
        return pc.replace_substring_regex(self.tail(1), r"_aligned$", "")


@dataclass(frozen=True)
class _Rule:
    """One way to compare: a form of the sample's id or image with that of the name; an empty form equals none."""

    name: str
    of_id: bool
    form: Callable[[_Forms], Names]
    coarse: bool = False


RULES = (
    _Rule("id", True, lambda forms: forms.names),
    _Rule("id without suffix", True, lambda forms: forms.stem),
    _Rule("image path", False, lambda forms: forms.path),
    _Rule("image path without suffix", False, lambda forms: forms.stem),
    _Rule("last three parts of the path", False, lambda forms: forms.tail(3), coarse=True),
    _Rule("last two parts of the path", False, lambda forms: forms.tail(2), coarse=True),
    _Rule("file name", False, lambda forms: forms.tail(1), coarse=True),
    _Rule("file name but for '_aligned'", False, lambda forms: forms.unaligned, coarse=True),
)


class _Lookup:
    """The samples by one form of their names; those that are not allowed have an empty one."""

    def __init__(self, forms: Names) -> None:
        encoded = forms.dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        self._forms = encoded.dictionary
        self._rows = np.full(len(self._forms), NOBODY, np.int64)
        self._rows[codes] = np.arange(len(codes))
        self._rows[np.bincount(codes, minlength=len(self._forms)) > 1] = AMBIGUOUS
        empty = pc.index(self._forms, "").as_py()
        if empty >= 0:
            self._rows[empty] = NOBODY

    def rows(self, forms: Names) -> npt.NDArray[np.int64]:
        codes = pc.fill_null(pc.index_in(forms, value_set=self._forms), -1).to_numpy(zero_copy_only=False)
        found = np.full(len(codes), NOBODY, np.int64)
        found[codes >= 0] = self._rows[codes[codes >= 0]]
        return found


class Joiner:
    """Finds the rows of a manifest that names mean.

    A name is compared by each of `RULES` in turn, and the first that finds one sample alone decides. A name that only
    several samples go by is ambiguous and joined to none. By the last rules, which look at a part of a path only, a
    name in a folder `val` is never joined to a sample of another split.

    Args:
        ids: the samples' ids.
        images: their images.
        splits: their splits.
        by: `auto` for all rules, `id` or `file` for those of one kind.
        allowed: which samples may be joined, by row; None for all.

    Attributes:
        joined_by: by rule, how many names it has joined.
    """

    def __init__(
        self,
        ids: Names,
        images: Names,
        splits: Texts,
        by: str,
        allowed: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self._ids, self._images = _Forms(_normal(ids)), _Forms(_normal(images))
        self._splits = splits
        self._allowed = allowed
        self._rules = [rule for rule in RULES if by == "auto" or rule.of_id == (by == "id")]
        self._lookups: dict[str, _Lookup] = {}
        self.joined_by: dict[str, int] = {}

    def rows(self, keys: Texts) -> npt.NDArray[np.int64]:
        """For each name the row of its sample, `NOBODY` or `AMBIGUOUS`."""
        forms = _Forms(_normal(pa.array(keys, pa.string())))
        found = np.full(len(keys), NOBODY, np.int64)
        waiting = np.arange(len(keys))
        for rule in self._rules:
            if not len(waiting):
                break
            rows = self._lookup(rule).rows(rule.form(forms))
            if rule.coarse:
                self._keep_to_splits(forms, rows)
            found[waiting[rows != NOBODY]] = rows[rows != NOBODY]
            if (rows >= 0).any():
                self.joined_by[rule.name] = self.joined_by.get(rule.name, 0) + int((rows >= 0).sum())
                waiting = waiting[rows < 0]
                forms = _Forms(forms.names.filter(pa.array(rows < 0)))
        return found

    def _lookup(self, rule: _Rule) -> _Lookup:
        if rule.name not in self._lookups:
            forms = rule.form(self._ids if rule.of_id else self._images)
            if self._allowed is not None:
                forms = pc.if_else(pa.array(self._allowed), forms, "")
            self._lookups[rule.name] = _Lookup(forms)
        return self._lookups[rule.name]

    def _keep_to_splits(self, forms: _Forms, rows: npt.NDArray[np.int64]) -> None:
        """Undo joins of names whose folder speaks of another split."""
        speaks = pc.match_substring_regex(forms.path, _SPLIT_FOLDER).to_numpy(zero_copy_only=False)
        for place in np.flatnonzero(speaks & (rows >= 0)):
            folders = forms.path[place].as_py().casefold().split("/")[:-1]
            split = next(SPLIT_NAMES[name] for name in reversed(folders) if name in SPLIT_NAMES)
            if split != self._splits[rows[place]]:
                rows[place] = NOBODY


def _any(found: Any) -> bool:
    return bool(pc.any(found).as_py())


def _normal(names: Names) -> Names:
    """One spelling of letters with marks, which file systems compose differently."""
    return names if pc.all(pc.string_is_ascii(names)).as_py() is not False else pc.utf8_normalize(names, form="NFC")
