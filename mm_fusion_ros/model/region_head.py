"""What stands in a piece of an image: class, colour and distance of one object found already.

The grid says where things are; what they are is seen best in the picture, at its full resolution.
Looking again at each proposal is the second stage of a detector (Girshick, 2015).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mm_fusion_ros.model.blocks import Residual, convolution
from mm_fusion_ros.outputs import CLASSES, COLOURS
from mm_fusion_ros.perception.regions import ABOUT, CROP

WIDTHS = (24, 48, 96)
LOG_SCALE = (-4.0, 0.5)
ROWS = CROP // 8


class RegionHead(nn.Module):
    """A small classifier of image crops.

    Besides the classes it may answer that the crop shows none of them: something else stands
    before the object, or nothing is there. Then the image has nothing to say of it.

    It also says how many times farther the object stands than the box that was cut out: a box that
    is too near is too large for what it shows, and too low.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third = WIDTHS
        # As in the camera encoder, filters of zero mean would not see brightness.
        self.stem = nn.Sequential(nn.Conv2d(6, first, 3, 2, 1), nn.ReLU(inplace=True))
        self.trunk = nn.Sequential(
            convolution(first, second, stride=2), Residual(second),
            convolution(second, third, stride=2), Residual(third),
        )  # fmt: skip
        # The middle shows the object, the mean its surroundings as well.
        self.hidden = nn.Sequential(nn.Linear(2 * third + ABOUT, 96), nn.ReLU(inplace=True))
        self.output = nn.Linear(96, len(CLASSES) + 1 + len(COLOURS))
        # How high or low things lie in the crop tells their distance: row by row.
        last = nn.Linear(64, 2)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([0.0, -2.0]))
        self.depth = nn.Sequential(nn.Linear(ROWS * third + ABOUT, 64), nn.ReLU(inplace=True), last)

    def forward(self, crops: Tensor, about: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Judges crops.

        Args:
            crops: (n, 3, CROP, CROP) float, RGB 0..255.
            about: (n, ABOUT), from `perception.regions`; its first three are the mean log-colour
                of the whole image, against which colours are judged too: it takes most of the
                light's own colour away (grey world).

        Returns:
            (n, classes + 1) log-probabilities, the last "none of these"; (n, colours) likewise;
            (n, 2) mean and log-scale of a Laplace distribution over the logarithm of the object's
            distance from the camera, in the ground plane, as a multiple of its box's.
        """
        light = about[:, :3, None, None]
        relative = torch.log(crops + 8.0) - 4.0 - light
        x = self.trunk(self.stem(torch.cat([crops * (1.0 / 127.5) - 1.0, relative], dim=1)))
        pooled = torch.cat([x.mean(dim=(2, 3)), x[:, :, 1:3, 1:3].mean(dim=(2, 3)), about], dim=1)
        said = self.output(self.hidden(pooled))
        classes, colours = said.split((len(CLASSES) + 1, len(COLOURS)), dim=1)
        rows = torch.cat([x.mean(dim=3).flatten(1), about], dim=1)
        mean, scale = self.depth(rows).split(1, dim=1)
        depth = torch.cat([mean, scale.clamp(*LOG_SCALE)], dim=1)
        return torch.log_softmax(classes, dim=1), torch.log_softmax(colours, dim=1), depth
