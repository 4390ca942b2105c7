"""The one way to load weights: fit them to a module, report every entry, or refuse them."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from simmim_mm._text import first_few
from simmim_mm.checkpoint.fetch import fetch
from simmim_mm.checkpoint.finite import require_finite
from simmim_mm.checkpoint.fit_weights import GEOMETRY
from simmim_mm.checkpoint.safe_load import (
    CheckpointError,
    find_state_dict,
    load_weights,
    state_dicts,
)

Shape = tuple[int, ...]
# What wrappers put before the names of a model: DataParallel, compile, Lightning, DINO.
_WRAPPER = re.compile(r'((module|_orig_mod|model|net|teacher|student|ema|model_ema)\.)+')
_MASK_TOKENS = ('mask_token', 'backbone.mask_token')


@runtime_checkable
class FitsWeights(Protocol):
    """A module that brings weights of another size to its own, as our backbones do."""

    def fit_state_dict(self, state_dict: dict, prefix: str = '') -> None:
        """Change the entries under ``prefix`` in place."""


@dataclass
class LoadReport:
    """What became of each entry, by the module's names unless said otherwise."""

    file: str = ''  # where the weights are from, for messages
    prefix: str = ''  # what the module's names begin with in the file
    matched: list[str] = field(default_factory=list)  # loaded as they are
    # Loaded after a change of size: name to (shape in the file, shape in the module).
    resized: dict[str, tuple[Shape | str, Shape]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)  # left as initialized
    # Not loaded because of their shape: name to (in the file, in the module).
    mismatched: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)  # in the file alone, under the prefix
    outside: int = 0  # number of entries of the file that are not under the prefix
    # Source names of entries that the module builds by itself (index tables).
    regenerated: list[str] = field(default_factory=list)
    # Source names of entries that the converter does not know.
    left_over: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # which of several was taken, a sentence each
    listed: int | None = 3  # how many names str(report) gives of each kind; None gives all

    @property
    def loaded(self) -> list[str]:
        """Names of all entries of the module that were filled."""
        return [*self.matched, *self.resized]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, mismatched, unexpected or left over."""
        return not (self.missing or self.mismatched or self.unexpected or self.left_over)

    def with_shapes(self, name: str) -> str:
        """The name, and both shapes if they differ."""
        if name not in self.mismatched:
            return name
        return '{}: {} in the file, {} in the model'.format(name, *self.mismatched[name])

    def require_backbone(self) -> None:
        """Raise a CheckpointError if weights of a whole model lack a part of its backbone.

        The mask token may be missing: public weights have none, and features need none.
        """
        missing = [name for name in self.missing if name.startswith('backbone.')]
        if missing := [name for name in missing if name not in _MASK_TOKENS]:
            raise CheckpointError(
                f'{self.file} lacks {len(missing)} weights of the encoder, such as {missing[0]}: '
                'it is not a checkpoint of this model'
            )

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        where = f"prefix '{self.prefix}'" if self.prefix else 'no prefix'
        source = f' from {self.file} ({where})' if self.file else ''
        lines = [f'{len(self.loaded)} of {total} weights loaded{source}', *self.notes]
        if self.resized:
            name, (old, new) = next(iter(self.resized.items()))
            lines.append(f'{len(self.resized)} resized, such as {name}: {old} to {new}')
        lines += self._names('missing, left as initialized', self.missing)
        if set(_MASK_TOKENS) & set(self.missing):
            lines.append('no mask token in the file: a new one, needed in pretraining alone')
        lines += self._names('of another shape, not loaded', self.mismatched)
        lines += self._names('unexpected, not used', self.unexpected)
        if set(_MASK_TOKENS) & set(self.unexpected):
            lines.append('the mask token is left out: this model has no use for it')
        lines += self._names('left over, unknown to the converter', self.left_over)
        if self.regenerated:  # they are many and expected: their number is enough
            lines.append(f'{len(self.regenerated)} not needed, the model builds them itself')
        if self.outside:
            lines.append(
                f'{self.outside} others in the file (decoder, head) are not of the backbone'
            )
        return '\n  '.join(lines)

    def _names(self, what: str, names: Iterable[str]) -> list[str]:
        names = [self.with_shapes(name) for name in names if name not in _MASK_TOKENS]
        if not names:
            return []
        if self.listed is None:
            return ['\n    '.join([f'{len(names)} {what}:', *names])]
        return [f'{len(names)} {what}: {first_few(names, self.listed, total=False)}']


def load_into(
    module: nn.Module,
    weights: Mapping[str, Tensor] | str | PathLike[str],
    prefix: str | None = '',
    *,
    file: str = '',
    check: Callable[[LoadReport], None] | None = None,
    resize: bool = True,
) -> LoadReport:
    """Load weights into a module and report what became of every entry.

    Args:
        module: Any module; parts of it that are :class:`FitsWeights` resize their entries.
        weights: A state dict; or a checkpoint file or its address (:func:`fetch`), read without
            running anything that it carries.
        prefix: What the module's names begin with in ``weights``; None finds it. Where nothing is
            found so, what a wrapper put before it (``module.``) is taken off.
        file: Name of the weights in messages, where they are a state dict.
        check: Called with the report before anything is loaded; raises to refuse the weights.
        resize: Whether entries of another size are fitted. If not, they are left out.

    Raises:
        CheckpointError: If the file cannot be read, or an entry does not fit or is not finite.
    """
    notes = []
    if isinstance(weights, (str, PathLike)):
        file = str(weights)
        checkpoint = load_weights(fetch(weights))
        weights = find_state_dict(checkpoint, file)
        notes = choice(list(state_dicts(checkpoint)))
    own = module.state_dict()
    if prefix is None:
        found = find_prefixes(weights, own)
        prefix, notes = next(iter(found), ''), notes + choice(found)
    elif prefix and not prefix.endswith('.'):
        prefix += '.'
    if not any(k.startswith(prefix) and k[len(prefix) :] in own for k in weights):
        found = find_prefixes(weights, own)
        found = [p for p in found if p.endswith(prefix) and is_wrapper(p.removesuffix(prefix))]
        prefix, notes = next(iter(found), prefix), notes + choice(found)
    entries = {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
    report = LoadReport(file, prefix, outside=len(weights) - len(entries), notes=notes)
    before = {name: tuple(tensor.shape) for name, tensor in entries.items()}
    if resize:
        for name, part in module.named_modules():
            if isinstance(part, FitsWeights):
                part.fit_state_dict(entries, f'{name}.' if name else '')

    for name, tensor in own.items():
        shape = tuple(tensor.shape)
        if name.endswith(GEOMETRY):
            continue
        if name not in entries:
            report.missing.append(name)
        elif (fitted := tuple(entries[name].shape)) != shape:
            report.mismatched[name] = before.get(name, fitted), shape
        elif before.get(name) == shape:
            report.matched.append(name)
        else:
            report.resized[name] = before.get(name, 'the table that all blocks shared'), shape
    report.unexpected = [k for k in entries if k not in own and not k.endswith(GEOMETRY)]
    if check is not None:
        check(report)
    require_finite({name: entries[name] for name in report.loaded}, file)

    if not resize:
        entries = {name: v for name, v in entries.items() if name not in report.mismatched}
    try:  # what is of another shape still may be fitted by modules of other libraries
        module.load_state_dict(entries, strict=False)
    except (RuntimeError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[:2][-1].strip()
        name = f' in {file}' if file else ''
        raise CheckpointError(
            f'the weights{name} do not fit this {type(module).__name__}: {reason}'
        ) from error
    if resize:
        report.resized.update(report.mismatched)
        report.mismatched = {}
    return report


def find_prefixes(names: Iterable[str], own: Iterable[str]) -> list[str]:
    """Prefixes under which ``names`` have those of the model, the most frequent first."""
    own = set(own)
    votes: Counter[str] = Counter()
    for name in names:
        starts = [0, *(dot.end() for dot in re.finditer(r'\.', name))]
        votes.update([name[:i] for i in starts if name[i:] in own][:1])
    most = max(votes.values(), default=0)
    # a name or two may be found under others, such as the norm of a decoder
    found = [prefix for prefix, n in votes.most_common() if n > most / 2]
    return sorted(found, key=lambda prefix: 'student' in prefix)  # the teacher comes first


def is_wrapper(prefix: str) -> bool:
    """Whether a prefix is what wrappers of a model put before its names."""
    return _WRAPPER.fullmatch(prefix) is not None


def choice(candidates: Sequence[str]) -> list[str]:
    """A sentence on which of several candidates was taken, the first; none if it is the only."""
    named = [name.rstrip('.') or 'the names without prefix' for name in candidates]
    return [f'{named[0]} taken, not {", ".join(named[1:])}'] if named[1:] else []
