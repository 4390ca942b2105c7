"""Renaming the entries of a state dict by a table that reads in both directions."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

_TEXTS = ('rest', 'part')  # fields that do not stand for a number
_FIELD = re.compile(r'\{(\w+)(?:\+(\d+))?\}')


@dataclass(frozen=True)
class Rule:
    """One line of a table of names.

    Args:
        theirs: Template of the authors' name. ``{i}``, ``{j}``, ... stand for a number, ``{rest}``
            for anything; ``{i+1}`` for that number plus one.
        ours: Template of our name, with the same fields.
        to_ours: Changes the tensor on the way in, where the layers differ in more than the name.
        to_theirs: Its inverse.
        regenerated: The entry follows from the architecture (an index table): it is dropped on the
            way in, since our model builds its own.
        parts: Where the authors keep apart what is one tensor here (queries, keys and values), the
            words that stand for ``{part}`` in ``theirs``, in the order of our first dimension.
        one_way: The way back is another rule's: ``theirs`` is an older or rarer name.
    """

    theirs: str
    ours: str = ''
    to_ours: Callable[[Tensor], Tensor] | None = None
    to_theirs: Callable[[Tensor], Tensor] | None = None
    regenerated: bool = False
    parts: tuple[str, ...] = ()
    one_way: bool = False

    def rename(self, key: str) -> str | None:
        """Our name of the authors' ``key``, or None where the rule does not apply."""
        return _translate(key, self._patterns[0], self.theirs, self.ours)

    def restore(self, key: str) -> str | None:
        """The authors' name of our ``key``, or None where the rule does not apply.

        Of a rule with parts, it holds ``{part}``.
        """
        if not self.ours or self.one_way:
            return None
        return _translate(key, self._patterns[1], self.ours, self.theirs)

    @cached_property
    def _patterns(self) -> tuple[re.Pattern, re.Pattern]:
        return _compile(self.theirs, self.parts), _compile(self.ours)


@dataclass
class Conversion:
    """A converted state dict and what became of each entry of the original.

    Attributes:
        state_dict: Our names to tensors.
        mapped: Our names to the authors' names.
        regenerated: Authors' names of entries that our model builds by itself.
        left_over: Authors' names of entries that no rule knows.
    """

    family: str
    state_dict: dict[str, Tensor] = field(default_factory=dict)
    mapped: dict[str, str] = field(default_factory=dict)
    regenerated: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)


def apply_rules(rules: Sequence[Rule], state_dict: Mapping[str, Tensor], family: str) -> Conversion:
    """Convert the authors' entries; the first rule that fits decides."""
    result = Conversion(family)
    apart: dict[str, tuple[Rule, dict[str, str]]] = {}  # our name: rule, {part: the authors' name}
    for key, tensor in state_dict.items():
        for rule in rules:
            new = rule.rename(key)
            if new is None:
                continue
            if rule.regenerated:
                result.regenerated.append(key)
            elif rule.parts:
                part = rule._patterns[0].fullmatch(key)['part']
                apart.setdefault(new, (rule, {}))[1][part] = key
            else:
                result.state_dict[new] = rule.to_ours(tensor) if rule.to_ours else tensor
                result.mapped[new] = key
            break
        else:
            result.left_over.append(key)
    for new, (rule, keys) in apart.items():
        if set(keys) == set(rule.parts):
            result.state_dict[new] = torch.cat([state_dict[keys[part]] for part in rule.parts])
            result.mapped[new] = ', '.join(keys[part] for part in rule.parts)
        else:
            result.left_over += keys.values()
    return result


def undo_rules(rules: Sequence[Rule], state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our entries under the authors' names; entries that they do not have are left out."""
    result = {}
    for key, tensor in state_dict.items():
        for rule in rules:
            old = rule.restore(key)
            if old is not None and rule.parts:
                pieces = tensor.chunk(len(rule.parts))
                result.update((old.format(part=p), x) for p, x in zip(rule.parts, pieces))
                break
            if old is not None:
                result[old] = rule.to_theirs(tensor) if rule.to_theirs else tensor
                break
    return result


def _compile(template: str, parts: tuple[str, ...] = ()) -> re.Pattern:
    pattern, start = '', 0
    texts = {'rest': '.+', 'part': '|'.join(map(re.escape, parts))}
    for found in _FIELD.finditer(template):
        name = found.group(1)
        pattern += re.escape(template[start : found.start()])
        pattern += rf'(?P<{name}>{texts.get(name, "[0-9]+")})'
        start = found.end()
    return re.compile(pattern + re.escape(template[start:]))


def _translate(key: str, pattern: re.Pattern, source: str, target: str) -> str | None:
    found = pattern.fullmatch(key)
    if found is None:
        return None
    values = {'part': '{part}', **found.groupdict()}
    for name, offset in _FIELD.findall(source):
        if name not in _TEXTS:
            values[name] = int(values[name]) - int(offset or 0)
            if values[name] < 0:  # the target counts from a later number
                return None
    return _FIELD.sub(
        lambda m: (
            values[m.group(1)]
            if m.group(1) in _TEXTS
            else str(values[m.group(1)] + int(m.group(2) or 0))
        ),
        target,
    )
