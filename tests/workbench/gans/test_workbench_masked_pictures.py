"""Pictures of samples under their masks."""

import io

import numpy as np
import torch
from PIL import Image

from genmend.workbench.pages.gans.correct import masked_grid
from genmend.workbench.pages.pictures import mask_overlay


def test_what_is_marked_keeps_its_colours_under_orange_and_the_rest_is_grey():
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(2, 8, 8)
    masks[0, :4], masks[1] = 1, 0.5
    shown = mask_overlay(images, masks)
    torch.testing.assert_close(
        shown[0, :, :4], 0.6 * images[0, :, :4] + 0.4 * torch.tensor([1, 0.55, 0.1])[:, None, None]
    )
    torch.testing.assert_close(shown[0, :, 4:], 0.5 * images[0, :, 4:].mean(0, keepdim=True).expand(3, -1, -1))
    whole, nothing = (mask_overlay(images, torch.full((2, 8, 8), value))[1] for value in (1.0, 0.0))
    torch.testing.assert_close(shown[1], (whole + nothing) / 2)
    # Of another size than the image, as drawn on a page.
    torch.testing.assert_close(mask_overlay(images, torch.ones(2, 32, 32)), mask_overlay(images, torch.ones(2, 8, 8)))


def test_samples_stand_above_their_masks_and_white_fills_the_last_row():
    images = torch.full((3, 3, 100, 100), 0.8)
    grid = np.asarray(Image.open(io.BytesIO(masked_grid(images, torch.zeros(3, 100, 100), columns=2))))
    assert grid.shape == (4 * 104, 2 * 104, 3)
    middle = grid[52::104, 52::104, 0].tolist()
    assert middle == [[204, 204], [102, 102], [204, 255], [102, 255]]
