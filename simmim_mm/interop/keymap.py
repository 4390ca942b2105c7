"""Names of other code and ours: a table of rules that reads in both directions."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from simmim_mm._renamed import renamed_arguments

_TEXTS = ('rest', 'part')  # fields that do not stand for a number
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
        regenerated: The entry follows from the architecture (an index table): it is dropped on the
            way in, since our model builds its own.
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
        """Our name of ``key`` in other code, or None where the rule does not apply."""
        return _translate(key, self._patterns[0], self.source, self.native)

    def restore(self, key: str) -> str | None:
        """The name of our ``key`` in other code, or None where the rule does not apply.

        Of a rule with parts, it holds ``{part}``.
        """
        if not self.native or self.one_way:
            return None
        return _translate(key, self._patterns[1], self.native, self.source)

    @cached_property
    def _patterns(self) -> tuple[re.Pattern, re.Pattern]:
        return _compile(self.source, self.parts), _compile(self.native)


@dataclass
class Conversion:
    """A converted state dict and what became of each entry of the original.

    Attributes:
        family: Name of the family whose rules were applied.
        state_dict: Our names to tensors.
        mapped: Our names to the source's names.
        regenerated: Source's names of entries that our model builds by itself.
        tables: Those of them that have a name here, by it.
        left_over: Source's names of entries that no rule knows.
    """

    family: str
    state_dict: dict[str, Tensor] = field(default_factory=dict)
    mapped: dict[str, str] = field(default_factory=dict)
    regenerated: list[str] = field(default_factory=list)
    tables: dict[str, Tensor] = field(default_factory=dict)
    left_over: list[str] = field(default_factory=list)


def apply_rules(rules: Sequence[Rule], state_dict: Mapping[str, Tensor], family: str) -> Conversion:
    """Entries of other code under our names; the first rule that fits decides."""
    result = Conversion(family)
    apart: dict[str, tuple[Rule, dict[str, str]]] = {}  # our name: rule, {part: source's name}
    for key, tensor in state_dict.items():
        for rule in rules:
            new = rule.rename(key)
            if new is None:
                continue
            if rule.regenerated:
                result.regenerated.append(key)
                if new:
                    result.tables[new] = tensor
            elif rule.parts:
                part = rule._patterns[0].fullmatch(key)['part']
                apart.setdefault(new, (rule, {}))[1][part] = key
            else:
                result.state_dict[new] = rule.to_native(tensor) if rule.to_native else tensor
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
    """Our entries under the names of other code; entries that it does not have are left out."""
    result = {}
    for key, tensor in state_dict.items():
        for rule in rules:
            old = rule.restore(key)
            if old is None:
                continue
            if rule.parts:
                pieces = tensor.chunk(len(rule.parts))
                result.update((old.format(part=p), x) for p, x in zip(rule.parts, pieces))
            else:
                result[old] = rule.to_source(tensor) if rule.to_source else tensor
            break
    return result


def block_rules(source: str, native: str, names: Sequence[tuple[str, str]]) -> tuple[Rule, ...]:
    """Rules of the parts of a block: ``source.<name>.{rest}`` to ``native.<name>.{rest}``."""
    return tuple(Rule(f'{source}.{a}.{{rest}}', f'{native}.{b}.{{rest}}') for a, b in names)


def qkv_rules(source: str, native: str, separate_bias: bool = False) -> tuple[Rule, ...]:
    """Rules of queries, keys and values that are apart in the source, as transformers has them.

    With ``separate_bias`` keys have no bias and those of queries and values are apart here, too.
    """
    qkv, part = ('query', 'key', 'value'), source + '.{part}.'
    weight = Rule(f'{part}weight', f'{native}.qkv.weight', parts=qkv)
    if not separate_bias:
        return weight, Rule(f'{part}bias', f'{native}.qkv.bias', parts=qkv)
    return (
        weight,
        Rule(f'{source}.query.bias', f'{native}.q_bias'),
        Rule(f'{source}.value.bias', f'{native}.v_bias'),
    )


def not_written(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules for code that makes its index tables anew: older files of it have them."""
    return tuple(replace(rule, one_way=True) if rule.regenerated else rule for rule in rules)


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
    numbers = {}
    for name, offset in _FIELD.findall(source):
        if name not in _TEXTS:
            numbers[name] = int(values[name]) - int(offset or 0)
            if numbers[name] < 0:  # the target counts from a later number
                return None

    def fill(found: re.Match) -> str:
        name, offset = found.groups()
        return values[name] if name in _TEXTS else str(numbers[name] + int(offset or 0))

    return _FIELD.sub(fill, target)
