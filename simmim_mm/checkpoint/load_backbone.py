"""Loading a backbone from a checkpoint, with an account, or a reason why not."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from os import PathLike

from mmengine.logging import print_log
from torch import Tensor, nn

from simmim_mm.checkpoint.fetch import fetch
from simmim_mm.checkpoint.fit_weights import GEOMETRY
from simmim_mm.checkpoint.safe_load import CheckpointError, find_state_dict, load_weights

# What may rightly be absent is small: norms of the output maps, tokens, position embeddings, and
# ConvMAE's fusion layers, 5 % of the base model, the largest of these. Whole blocks never are.
MAX_ABSENT = 0.1
_BLOCK = re.compile(r'(.*?(?:layers|blocks\d*)\.\d+)\.')
_TOKEN = 'mask_token'


@dataclass
class BackboneReport:
    """What became of each entry, by the backbone's names.

    Attributes:
        file: Where from.
        prefix: What the names in the file begin with.
        matched: Loaded as they are.
        resized: Name to (shape in the file, shape in the model).
        missing: In the model alone; they keep their initial values.
        unexpected: In the file, under the prefix, alone.
        outside: Number of entries of the file that are not under the prefix.
    """

    file: str
    prefix: str
    matched: list[str] = field(default_factory=list)
    resized: dict[str, tuple] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    outside: int = 0

    def __str__(self) -> str:
        total = len(self.matched) + len(self.resized) + len(self.missing)
        where = f"prefix '{self.prefix}'" if self.prefix else 'no prefix'
        lines = [f'{len(self.matched)} of {total} weights loaded from {self.file} ({where})']
        if self.resized:
            name, (old, new) = next(iter(self.resized.items()))
            lines.append(f'{len(self.resized)} resized, such as {name}: {old} to {new}')
        if missing := [name for name in self.missing if name != _TOKEN]:
            lines.append(f'{len(missing)} missing, left as initialized: {_some(missing)}')
        if _TOKEN in self.missing:
            lines.append('no mask token in the file: a new one, needed in pretraining alone')
        if unexpected := [name for name in self.unexpected if name != _TOKEN]:
            lines.append(f'{len(unexpected)} unexpected, not used: {_some(unexpected)}')
        if _TOKEN in self.unexpected:
            lines.append('the mask token is left out: this model has no use for it')
        if self.outside:
            lines.append(
                f'{self.outside} others in the file (decoder, head) are not of the backbone'
            )
        return '\n  '.join(lines)


def load_backbone(
    model: nn.Module, checkpoint: str | PathLike, prefix: str | None = None
) -> BackboneReport:
    """Load the weights of one of our backbones, fitted to it, and log what became of them.

    Args:
        model: A backbone of ours.
        checkpoint: A file that training, an export or ``tools/convert.py`` wrote, or its address
            (:func:`~simmim_mm.checkpoint.fetch.fetch`); read without running anything it carries.
        prefix: What the backbone's names begin with in the file, ``'backbone.'`` of a training;
            None finds it.

    Raises:
        CheckpointError: If the file cannot be read; if it has nothing under the prefix; or if it is
            of another architecture: a weight has another shape, or more than a tenth of the model's
            weights, by size, are missing or of the file's unexpected.
    """
    file = str(checkpoint)
    state = find_state_dict(load_weights(fetch(checkpoint)), file)
    own = model.state_dict()
    found = _prefixes(state, own)
    if prefix is None:
        prefix = found[0] if found else ''
    elif prefix and not prefix.endswith('.'):
        prefix += '.'
    name = type(model).__name__
    part = _under(state, prefix, own)
    if not any(key in own for key in part):
        raise CheckpointError(_nothing(file, prefix, found, name, state, own))

    before = {key: tuple(tensor.shape) for key, tensor in part.items()}
    fitted = dict(part)
    model.fit_state_dict(fitted)
    report = BackboneReport(file, prefix, outside=len(state) - len(part))
    wrong = []
    for key, tensor in own.items():
        if key.endswith(GEOMETRY):
            continue
        if key not in fitted:
            report.missing.append(key)
        elif fitted[key].shape != tensor.shape:
            wrong.append(key)
        elif before.get(key) == tuple(tensor.shape):
            report.matched.append(key)
        else:
            old = before.get(key, 'the table that all blocks shared')
            report.resized[key] = old, tuple(tensor.shape)
    report.unexpected = [k for k in fitted if k not in own and not k.endswith(GEOMETRY)]

    if wrong:
        key = wrong[0]
        raise CheckpointError(
            f'{file} is not of this {name}: {len(wrong)} weights have other shapes, such as {key} '
            f'with {before[key]} in the file and {tuple(own[key].shape)} in the model. '
            f'{_reason(key, part[key], own[key])}'
        )
    absent = _share(report.missing, own), _share(report.unexpected, fitted)
    whole = (
        _blocks(report.missing) - _blocks(report.matched),
        _blocks(report.unexpected) - _blocks(own),
    )
    if max(absent) > MAX_ABSENT or any(whole):
        raise CheckpointError(
            f'{file} is not of this {name}: {absent[0]:.0%} of the weights of the model are not in '
            f'the file{_such(report.missing)}, and {absent[1]:.0%} of those in the file not in the '
            f'model{_such(report.unexpected)}. Build the backbone with the class and arch that it '
            'was pretrained with'
        )
    model.load_state_dict(fitted, strict=False)
    print_log(f'{name}: {report}', 'current')
    return report


def _prefixes(state: dict, own: dict) -> list[str]:
    """Prefixes under which the file has names of the model, the most frequent first."""
    votes: Counter = Counter()
    for key in state:
        parts = key.split('.')
        for i in range(len(parts)):
            if '.'.join(parts[i:]) in own:
                votes['.'.join([*parts[:i], ''])] += 1
                break
    most = max(votes.values(), default=0)
    # a name or two may be found under others, such as the norm of a decoder
    return [prefix for prefix, n in votes.most_common() if n > most / 2]


def _under(state: dict[str, Tensor], prefix: str, own: dict) -> dict[str, Tensor]:
    part = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
    if prefix:
        return part
    # beside a bare backbone, its classifier may stand
    first = {key.split('.')[0] for key in own} | {_TOKEN, 'rel_pos_bias'}
    return {key: tensor for key, tensor in part.items() if key.split('.')[0] in first}


def _blocks(names: Iterable[str]) -> set[str]:
    return {found.group(1) for found in map(_BLOCK.match, names) if found}


def _share(names: list[str], tensors: dict[str, Tensor]) -> float:
    total = sum(tensor.numel() for key, tensor in tensors.items() if not key.endswith(GEOMETRY))
    return sum(tensors[name].numel() for name in names) / max(total, 1)


def _nothing(file: str, prefix: str, found: list, name: str, state: dict, own: dict) -> str:
    text = (
        f"{file} has no weights of {name} under prefix='{prefix}': its names are like "
        f'{_some(list(state))}, those of the model like {_some(list(own))}. '
    )
    if found and found[0]:
        return text + f"Write prefix='{found[0]}' in init_cfg"
    if found:
        return text + 'Leave prefix out of init_cfg: the names in the file have none'
    return text + (
        'It is of another architecture, or of other code: tools/convert.py brings the files of '
        'several code bases to ours'
    )


def _reason(key: str, theirs: Tensor, own: Tensor) -> str:
    if own.ndim == 4 and theirs.ndim == 4 and theirs.shape[0] == own.shape[0]:
        size = theirs.shape[-1]
        return f'It was pretrained with patches of {size} pixels: build the backbone so'
    if key.endswith('pos_embed') and theirs.shape[-1] == own.shape[-1]:
        return (
            f'{theirs.shape[1]} positions are neither a square grid nor one of the proportions of '
            "the model's: build it with an img_size of the proportions of the pretraining"
        )
    return 'Build the backbone with the arch that it was pretrained with'


def _such(names: list[str]) -> str:
    return f' ({_some(names)})' if names else ''


def _some(names: list[str], n: int = 3) -> str:
    return ', '.join(names[:n]) + (', ...' if len(names) > n else '')
