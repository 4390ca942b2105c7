import pytest
import torch
from torch.testing import assert_close

from simmim_mm.checkpoint import resize_position_bias


def table(side: int, heads: int = 2, extra: int = 0) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn((2 * side - 1) ** 2 + extra, heads)


def test_own_size_is_unchanged():
    assert torch.equal(resize_position_bias(table(6), (6, 6)), table(6))


@pytest.mark.parametrize('window', [(7, 7), (4, 4), (12, 12), (5, 9), (1, 3)])
def test_constant_stays_and_extra_rows_are_kept(window):
    old = torch.ones(121 + 3, 2) * torch.tensor([2.0, -3.0])
    old[-3:] = torch.arange(6.0).view(3, 2)
    new = resize_position_bias(old, window, num_extra_tokens=3)
    rows = (2 * window[0] - 1) * (2 * window[1] - 1)
    assert new.shape == (rows + 3, 2)
    assert_close(new[:-3], old[:1].expand(rows, -1))
    assert torch.equal(new[-3:], old[-3:])


def test_rows_are_the_vertical_offset_and_the_center_stays():
    side = 6
    offsets = torch.arange(-(side - 1), side).double()
    vertical = offsets.view(-1, 1).expand(11, 11).reshape(-1, 1)
    new = resize_position_bias(vertical, (7, 9)).view(13, 17)
    assert_close(new, new[:, :1].expand(-1, 17))
    assert (new[1:] > new[:-1]).all()
    assert_close(new[6], torch.zeros(17, dtype=torch.float64))


def test_a_window_of_one_has_a_single_offset_to_give():
    only = torch.tensor([[5.0, 1.0]])
    assert_close(resize_position_bias(only, (2, 2)), only.expand(9, -1))


def test_table_of_no_square_window_is_refused():
    with pytest.raises(ValueError, match=r'35 rows'):
        resize_position_bias(torch.zeros(35, 2), (7, 7))
