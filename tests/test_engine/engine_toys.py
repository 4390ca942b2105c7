"""A data set and a model that make every source of randomness show."""

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import Dataset


class Numbers(Dataset):
    """Sample i is a row of numbers drawn from the seed that its index carries."""

    def __init__(self, length: int = 20) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index):
        draw = np.random.default_rng(index.seed).normal(size=4)
        return dict(inputs=torch.tensor(draw, dtype=torch.float32), index=int(index))


class NoisyRegression(BaseModel):
    """A model that draws random numbers of every kind in its forward pass."""

    def __init__(self, seen=None, poison=()) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.seen = [] if seen is None else seen
        self.poison = poison

    def forward(self, inputs, index=None, mode='tensor'):
        inputs = torch.stack(list(inputs)) if not torch.is_tensor(inputs) else inputs
        self.seen.append([int(i) for i in index])
        noise = torch.rand(4, device=inputs.device) + np.random.rand()
        loss = (nn.functional.dropout(self.layer(inputs), 0.5) - noise).square().mean()
        if len(self.seen) in self.poison:
            loss = loss * float('nan')
        return dict(loss=loss)


def losses_of(runner) -> list[float]:
    """Every loss that was logged, resumed ones included, at full precision."""
    return runner.message_hub.get_scalar('train/loss').data[0].tolist()
