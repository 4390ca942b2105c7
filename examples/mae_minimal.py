"""MAE (arXiv 2111.06377) on one page: python examples/mae_minimal.py.

Three quarters of the tokens are left out, the encoder sees the others alone, and a small decoder
predicts the normalized pixels of what was left out. Seconds on a CPU, on crops of a photograph.
"""

import torch
import torch.nn.functional as F
from simmim_minimal import PATCH, SIZE, Block, random_crops, train
from torch import Tensor, nn

DIMS, DEPTH, HEADS = 96, 4, 3
DECODER_DIMS, DECODER_DEPTH, DECODER_HEADS = 64, 2, 4
GRID = SIZE // PATCH


def sincos(dims: int) -> nn.Parameter:
    """Fixed position embedding, (1, 1 + tokens, dims): zeros for the class token, then the grid."""
    omega = 1e4 ** (-torch.arange(dims // 4).double() / (dims // 4))
    row, col = torch.meshgrid(*[torch.arange(GRID).double()] * 2, indexing='ij')
    angles = [axis.reshape(-1, 1) * omega for axis in (col, row)]
    table = torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=1)
    return nn.Parameter(F.pad(table, (0, 0, 1, 0)).float()[None], requires_grad=False)


def to_patches(images: Tensor) -> Tensor:
    """(B, 3, H, W) to (B, tokens, values of a patch)."""
    x = images.view(len(images), 3, GRID, PATCH, GRID, PATCH)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(len(images), GRID**2, -1)


def to_images(patches: Tensor) -> Tensor:
    x = patches.view(len(patches), GRID, GRID, PATCH, PATCH, 3)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), 3, SIZE, SIZE)


class MAE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, DIMS, PATCH, PATCH)
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, DIMS))
        self.pos_embed = sincos(DIMS)
        self.blocks = nn.Sequential(*(Block(DIMS, HEADS) for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(DIMS, eps=1e-6)

        self.decoder_embed = nn.Linear(DIMS, DECODER_DIMS)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, DECODER_DIMS))
        self.decoder_pos_embed = sincos(DECODER_DIMS)
        blocks = (Block(DECODER_DIMS, DECODER_HEADS) for _ in range(DECODER_DEPTH))
        self.decoder_blocks = nn.Sequential(*blocks)
        self.decoder_norm = nn.LayerNorm(DECODER_DIMS, eps=1e-6)
        self.decoder_pred = nn.Linear(DECODER_DIMS, 3 * PATCH**2)

    def forward(self, images: Tensor, mask: Tensor, target: Tensor | None = None) -> Tensor:
        """Loss of normalized images (B, 3, H, W) under masks (B, h, w) of tokens, True = hidden."""
        B, visible = len(images), ~mask.flatten(1)
        x = self.patch_embed(images).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        x = x[visible].view(B, -1, DIMS)  # as many in each image
        cls_token = (self.cls_token + self.pos_embed[:, :1]).expand(B, -1, -1)
        x = self.norm(self.blocks(torch.cat([cls_token, x], dim=1)))

        x = self.decoder_embed(x)
        tokens = self.mask_token.repeat(B, GRID**2, 1)
        tokens[visible] = x[:, 1:].reshape(-1, DECODER_DIMS)
        x = torch.cat([x[:, :1], tokens], dim=1) + self.decoder_pos_embed
        pred = self.decoder_pred(self.decoder_norm(self.decoder_blocks(x)))[:, 1:]

        # squared error of the hidden patches, each normalized by itself (section 3.4)
        patches = to_patches(images if target is None else target)
        var, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        error = (to_images(pred) - to_images((patches - mean) / (var + 1e-6).sqrt())) ** 2
        hidden = mask.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)[:, None]
        return (error * hidden).sum() / (hidden.sum() + 1e-5) / 3


def random_masks(n: int, ratio: float = 0.75) -> Tensor:
    order = torch.rand(n, GRID**2).argsort(1)
    return (order < round(ratio * GRID**2)).view(n, GRID, GRID)


if __name__ == '__main__':
    torch.manual_seed(0)
    model = MAE()
    train(model, lambda: model(random_crops(16), random_masks(16)))
