"""Names of other code and ours: a table of rules that reads in both directions."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from simmim_mm._renamed import renamed_arguments

_FIELD = re.compile(r'\{(\w+)(?:\+(\d+))?\}')


@renamed_arguments(theirs='source', ours='native', to_ours='to_native', to_theirs='to_source')
@dataclass(frozen=True)
class Rule:
    """One line of a table of names.

    Args:
        source: Template of the name in other code. ``{i}``, ``{j}``, ... stand for a number,
            ``{rest}`` for anything; ``{i+1}`` for that number plus one.
        native: Template of our name, with the same fields.
        to_native: Changes the tensor on the way in, where the layers differ in more than the name.
        to_source: Its inverse.
        regenerated: An index table, dropped on the way in: our model builds its own.
        parts: Where other code keeps apart what is one tensor here (queries, keys and values), the
            words that stand for ``{part}`` in ``source``, in the order of our first dimension.
        one_way: Not used on the way back: ``source`` is an older or rarer name, or not written.
    """

    source: str
    native: str = ''
    to_native: Callable[[Tensor], Tensor] | None = None
    to_source: Callable[[Tensor], Tensor] | None = None
    regenerated: bool = False
    parts: tuple[str, ...] = ()
    one_way: bool = False

    def rename(self, key: str) -> str | None:
        """Our name of ``key`` there, or None where the rule does not apply."""
        return _translate(key, self._patterns[0], self.source, self.native)

    def restore(self, key: str) -> str | None:
        """The name there of our ``key``, with ``{part}`` if it has parts, or None."""
        if not self.native or self.one_way:
            return None
        return _translate(key, self._patterns[1], self.native, self.source)

    @cached_property
    def _patterns(self) -> tuple[re.Pattern, re.Pattern]:
        return _compile(self.source, self.parts), _compile(self.native)


@dataclass
class Conversion:
    """A converted state dict and what became of each entry of the original."""

    family: str  # whose rules were applied
    state_dict: dict[str, Tensor] = field(default_factory=dict)  # by our names
    mapped: dict[str, str] = field(default_factory=dict)  # our names to the source's
    regenerated: list[str] = field(default_factory=list)  # of the source; our model builds them
    tables: dict[str, Tensor] = field(default_factory=dict)  # those with a name here, by it
    left_over: list[str] = field(default_factory=list)  # of the source, and no rule knows them


def apply_rules(rules: Sequence[Rule], state_dict: Mapping[str, Tensor], family: str) -> Conversion:
    """Entries of other code under our names; the first rule that fits decides."""
    result = Conversion(family)
    apart: dict[str, tuple[Rule, dict]] = {}  # our name: rule, {part: source's name}
    for key, tensor in state_dict.items():
        rule, new = _first(rules, Rule.rename, key)
        if rule is None:
            result.left_over.append(key)
        elif rule.regenerated:
            result.regenerated.append(key)
            if new:
                result.tables[new] = tensor
        elif rule.parts:
            part = rule._patterns[0].fullmatch(key)['part']
            apart.setdefault(new, (rule, {}))[1][part] = key
        else:
            result.state_dict[new] = rule.to_native(tensor) if rule.to_native else tensor
            result.mapped[new] = key
    for new, (rule, keys) in apart.items():
        if set(keys) == set(rule.parts):
            result.state_dict[new] = torch.cat([state_dict[keys[part]] for part in rule.parts])
            result.mapped[new] = ', '.join(keys[part] for part in rule.parts)
        else:
            result.left_over += keys.values()
    return result


def undo_rules(rules: Sequence[Rule], state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our entries under the names of other code; entries that it does not have are left out."""
    result = {}
    for key, tensor in state_dict.items():
        rule, old = _first(rules, Rule.restore, key)
        if rule and rule.parts:
            pieces = tensor.chunk(len(rule.parts))
            result.update((old.format(part=p), x) for p, x in zip(rule.parts, pieces))
        elif rule:
            result[old] = rule.to_source(tensor) if rule.to_source else tensor
    return result


def _first(rules: Sequence[Rule], name: Callable[[Rule, str], str | None], key: str) -> Any:
    """The first rule that has a name for ``key``, and the name; or None and None."""
    named = ((rule, name(rule, key)) for rule in rules)
    return next((pair for pair in named if pair[1] is not None), (None, None))


def block_rules(source: str, native: str, names: Sequence[tuple[str, str]]) -> tuple[Rule, ...]:
    """Rules of the parts of a block: ``source.<name>.{rest}`` to ``native.<name>.{rest}``."""
    return tuple(Rule(f'{source}.{a}.{{rest}}', f'{native}.{b}.{{rest}}') for a, b in names)


def qkv_rules(source: str, native: str, separate_bias: bool = False) -> tuple[Rule, ...]:
    """Rules of queries, keys and values that are apart in the source, as transformers has them.

    With ``separate_bias`` keys have no bias and those of queries and values are apart here, too.
    """
    kinds = ('weight',) if separate_bias else ('weight', 'bias')
    qkv = ('query', 'key', 'value')
    biases = [('query', 'q_bias'), ('value', 'v_bias')] if separate_bias else []
    return (
        *(Rule(f'{source}.{{part}}.{n}', f'{native}.qkv.{n}', parts=qkv) for n in kinds),
        *(Rule(f'{source}.{a}.bias', f'{native}.{b}') for a, b in biases),
    )


def not_written(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules for code that makes its index tables anew: older files of it have them."""
    return tuple(replace(rule, one_way=True) if rule.regenerated else rule for rule in rules)


def _compile(template: str, parts: tuple[str, ...] = ()) -> re.Pattern:
    texts = {'rest': '.+', 'part': '|'.join(map(re.escape, parts))}

    def group(field: re.Match) -> str:
        return f'(?P<{field[1]}>{texts.get(field[1], "[0-9]+")})'

    return re.compile(re.sub(r'\\\{(\w+)(\\\+\d+)?\\\}', group, re.escape(template)))


def _translate(key: str, pattern: re.Pattern, source: str, target: str) -> str | None:
    found = pattern.fullmatch(key)
    if found is None:
        return None
    values: dict[str, Any] = {'part': '{part}', **found.groupdict()}
    for name, offset in _FIELD.findall(source):
        if offset:
            values[name] = int(values[name]) - int(offset)
            if values[name] < 0:  # the target counts from a later number
                return None

    def fill(field: re.Match) -> str:
        value, offset = values[field[1]], field[2]
        return str(int(value) + int(offset) if offset else value)

    return _FIELD.sub(fill, target)
