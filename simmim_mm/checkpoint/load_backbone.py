"""Loading a backbone from a checkpoint, with a report, or a reason why not."""

import re
from collections.abc import Iterable, Mapping
from os import PathLike

from mmengine.logging import MMLogger
from torch import Tensor, nn

from simmim_mm._text import first_few
from simmim_mm.checkpoint.fetch import fetch
from simmim_mm.checkpoint.load import LoadReport, choice, find_prefixes, load_into
from simmim_mm.checkpoint.safe_load import (
    CheckpointError,
    find_state_dict,
    load_weights,
    state_dicts,
)

# What may rightly be absent is small: norms of the output maps, tokens, position embeddings, and
# ConvMAE's fusion layers, 5 % of the base model, the largest of these. Whole blocks never are.
MAX_ABSENT = 0.1
_BLOCK = re.compile(r'(.*?(?:layers|blocks\d*)\.\d+)\.')


def load_backbone(
    model: nn.Module, checkpoint: str | PathLike[str], prefix: str | None = None
) -> LoadReport:
    """Load the weights of one of our backbones, fitted to it, and log what became of them.

    Args:
        model: A backbone of ours.
        checkpoint: A file that training, an export or ``simmim convert`` wrote, or its address
            (:func:`~simmim_mm.checkpoint.fetch.fetch`); read without running anything it carries.
        prefix: What the backbone's names begin with in the file, ``'backbone.'`` of a training;
            None finds it.

    Raises:
        CheckpointError: If the file cannot be read or holds NaN or infinity; if it has nothing
            under the prefix; or if it is of another architecture: a weight has another shape, or
            more than a tenth of the model's weights, by size, are missing or of the file's
            unexpected. The model is as it was then.
    """
    file, name = str(checkpoint), type(model).__name__
    stored = load_weights(fetch(checkpoint))
    state = find_state_dict(stored, file)
    own = model.state_dict()

    def check(report: LoadReport) -> None:
        if not (report.loaded or report.mismatched):
            raise CheckpointError(_nothing_found(report, name, state, own))
        if not report.prefix:  # beside a bare backbone, its classifier may stand
            parts = {key.split('.')[0] for key in own} | {'mask_token', 'rel_pos_bias'}
            inside = [key for key in report.unexpected if key.split('.')[0] in parts]
            report.outside += len(report.unexpected) - len(inside)
            report.unexpected = inside
        if reason := _mismatch(report) or _absence(report, state, own):
            raise CheckpointError(f'{file} is not of this {name}: {reason}')

    report = load_into(model, state, prefix, file=file, check=check)
    report.notes += choice(list(state_dicts(stored)))
    MMLogger.get_current_instance().info(f'{name}: {report}')
    return report


def _nothing_found(report: LoadReport, name: str, state: Mapping, own: Mapping) -> str:
    found = find_prefixes(state, own)
    advice = 'Leave prefix out of init_cfg: the names in the file have none'
    if not found:
        advice = 'It is of another architecture or other code: bring it to ours by simmim convert'
    elif found[0]:
        advice = f"Write prefix='{found[0]}' in init_cfg"
    return (
        f"{report.file} has no weights of {name} under prefix='{report.prefix}': its names are "
        f'like {first_few(state, 3)}, those of the model like {first_few(own, 3)}. {advice}'
    )


def _mismatch(report: LoadReport) -> str:
    if not report.mismatched:
        return ''
    key, (stored, needed) = next(iter(report.mismatched.items()))
    if len(needed) == len(stored) == 4 and stored[0] == needed[0]:
        advice = f'It was pretrained with patches of {stored[-1]} pixels: build the backbone so'
    elif key.endswith('pos_embed') and stored[-1] == needed[-1]:
        advice = (
            f'{stored[1]} positions are neither a square grid nor one of the proportions of '
            "the model's: build it with an img_size of the proportions of the pretraining"
        )
    else:
        advice = 'Build the backbone with the arch that it was pretrained with'
    return (
        f'{len(report.mismatched)} weights have other shapes, such as {key} with {stored} in the '
        f'file and {needed} in the model. {advice}'
    )


def _absence(report: LoadReport, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    loaded = sum(own[key].numel() for key in report.loaded)
    missing = sum(own[key].numel() for key in report.missing)
    unexpected = sum(state[report.prefix + key].numel() for key in report.unexpected)
    absent = missing / (loaded + missing), unexpected / (loaded + unexpected)
    blocks = _blocks(report.missing) - _blocks(report.matched)
    blocks |= _blocks(report.unexpected) - _blocks(own)
    if max(absent) <= MAX_ABSENT and not blocks:
        return ''
    names = (report.missing, report.unexpected)
    shown = [f' ({first_few(n, 3, total=False)})' if n else '' for n in names]
    return (
        f'{absent[0]:.0%} of the weights of the model are not in the file{shown[0]}, and '
        f'{absent[1]:.0%} of those in the file not in the model{shown[1]}. Build the backbone with '
        'the class and arch that it was pretrained with'
    )


def _blocks(names: Iterable[str]) -> set[str]:
    return {found.group(1) for found in map(_BLOCK.match, names) if found}
