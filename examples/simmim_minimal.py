"""SimMIM (arXiv 2111.09886) on one page: python examples/simmim_minimal.py.

Blocks of the image are hidden behind a learned mask token, a ViT sees all tokens, and one linear
layer predicts the hidden pixels. Seconds on a CPU, on crops of a photograph.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor, nn

SIZE, PATCH, BLOCK, DIMS, DEPTH, HEADS = 96, 8, 16, 96, 4, 3  # pixels, pixels, pixels


class Block(nn.Module):
    """Attention and MLP, each behind a normalization."""

    def __init__(self, dims: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(dims, eps=1e-6), nn.LayerNorm(dims, eps=1e-6)
        self.qkv, self.proj = nn.Linear(dims, 3 * dims), nn.Linear(dims, dims)
        self.fc1, self.fc2 = nn.Linear(dims, 4 * dims), nn.Linear(4 * dims, dims)

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        qkv = self.qkv(self.ln1(x)).reshape(B, N, 3, self.heads, C // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, N, C)
        x = x + self.proj(attended)
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x))))


class SimMIM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.grid = SIZE // PATCH
        self.patch_embed = nn.Conv2d(3, DIMS, PATCH, PATCH)
        self.mask_token = nn.Parameter(0.02 * torch.randn(DIMS))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, self.grid**2, DIMS))
        self.blocks = nn.Sequential(*(Block(DIMS, HEADS) for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(DIMS, eps=1e-6)
        self.decoder = nn.Sequential(nn.Conv2d(DIMS, 3 * PATCH**2, 1), nn.PixelShuffle(PATCH))

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        """Loss of normalized images (B, 3, H, W) under masks (B, h, w) of tokens, True = hidden."""
        x = self.patch_embed(images).flatten(2).transpose(1, 2)
        x = torch.where(mask.flatten(1)[..., None], self.mask_token, x) + self.pos_embed
        x = self.norm(self.blocks(x))
        feature_map = x.reshape(len(x), self.grid, self.grid, DIMS).permute(0, 3, 1, 2)
        pred = self.decoder(feature_map)
        # L1 of the hidden pixels alone (section 3.4)
        hidden = mask.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)[:, None]
        return ((pred - images).abs() * hidden).sum() / (hidden.sum() + 1e-5) / 3


def random_masks(n: int, ratio: float = 0.6) -> Tensor:
    """Masks of random square blocks (section 3.2), on the grid of tokens."""
    blocks = SIZE // BLOCK
    order = torch.rand(n, blocks**2).argsort(1)
    mask = (order < round(ratio * blocks**2)).view(n, blocks, blocks)
    return mask.repeat_interleave(BLOCK // PATCH, 1).repeat_interleave(BLOCK // PATCH, 2)


def random_crops(n: int) -> Tensor:
    """Normalized crops of a photograph that scikit-image brings along."""
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1) / 255
    corners = torch.randint(0, photo.shape[1] - SIZE, (n, 2)).tolist()
    crops = torch.stack([photo[:, y : y + SIZE, x : x + SIZE] for y, x in corners])
    return (crops - crops.mean((0, 2, 3), keepdim=True)) / crops.std((0, 2, 3), keepdim=True)


def train(model: nn.Module, next_loss: Callable[[], Tensor], steps: int = 60) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    for step in range(1, steps + 1):
        loss = next_loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f'step {step}: loss {loss.item():.4f}')


if __name__ == '__main__':
    torch.manual_seed(0)
    model = SimMIM()
    train(model, lambda: model(random_crops(16), random_masks(16)))
