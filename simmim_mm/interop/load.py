"""Loading converted weights with an account of every entry."""

from dataclasses import dataclass, field

from torch import nn

from simmim_mm.checkpoint.fit_weights import GEOMETRY
from simmim_mm.interop.rules import Conversion


@dataclass
class LoadReport:
    """What became of each entry, by name: the model's for the first four, then the authors'.

    Attributes:
        loaded: Entries of the model that were filled.
        missing: Entries of the model that the file lacks; they keep their initial values.
        mismatched: Entries of another shape than the model's, with both shapes; not loaded.
        unexpected: Converted entries that the model does not have.
        regenerated: Entries that the model builds by itself.
        left_over: Entries that the converter does not know.
    """

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    regenerated: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, unexpected, mismatched or left over."""
        return not (self.missing or self.mismatched or self.unexpected or self.left_over)

    def __str__(self) -> str:
        lines = [f'loaded {len(self.loaded)} tensors']
        for name in ('missing', 'mismatched', 'unexpected', 'left_over', 'regenerated'):
            keys = getattr(self, name)
            line = f'{name.replace("_", " ")} {len(keys)}'
            # index tables are many and expected: their number is enough
            shown = [] if name == 'regenerated' else keys
            lines.append(line + ''.join(f'\n  {key}' for key in shown))
        return '\n'.join(lines)


def load_converted(model: nn.Module, conversion: Conversion) -> LoadReport:
    """Load converted weights into one of our models, without resizing anything.

    Args:
        model: Built from :func:`model_config`, or with the like backbone and neck.
        conversion: Of :func:`convert`.

    Returns:
        The account; nothing is raised for an incomplete file.
    """
    report = LoadReport(regenerated=conversion.regenerated, left_over=conversion.left_over)
    own = model.state_dict()
    state = {}
    for key, tensor in conversion.state_dict.items():
        if key not in own:
            report.unexpected.append(key)
        elif own[key].shape != tensor.shape:
            shapes = f'{tuple(tensor.shape)} in the file, {tuple(own[key].shape)} in the model'
            report.mismatched.append(f'{key}: {shapes}')
        else:
            state[key] = tensor
    report.loaded = list(state)
    known = {*state, *(line.split(':')[0] for line in report.mismatched)}
    report.missing = [key for key in own if key not in known and not key.endswith(GEOMETRY)]
    model.load_state_dict(state, strict=False)
    return report
