"""What training does to a radiograph so that the model does not learn one hospital's machine.

Every transformation is drawn per image from a `torch.Generator`; images are float32 of shape
(n, 1, 64, 64), values 0..1, before and after.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Ranges and shares.

    Attributes:
        share: Of images whose geometry is changed, and of those whose tones are.
        rotation: Degrees either way.
        shift: Share of the side, either way.
        scale: Smallest and largest zoom: the class must not be read from it (see the model card).
        anisotropy: Logarithm of the ratio of the axes, either way.
        low_resolution: Share of images lowered to 28 pixels and enlarged again.
        sharpness: Blur (positive) or sharpening (negative) by a 3x3 binomial kernel, either way.
        gamma: Logarithm of the exponent, either way.
        tone: Share of images that get a random rising tone curve.
        contrast: Relative change, either way.
        brightness: Absolute change, either way.
        noise: Largest standard deviation.
        spectrum: Share of images whose Fourier amplitudes are mixed with another image's: style without
            content (Xu et al. 2021, arXiv:2105.11120).
        erase: Share of images with a rectangle of 8 to 24 pixels painted over.
        mirror: Share of images turned left to right.
        normal_largest: Largest zoom of normals where it differs from `scale`'s: normals come with a wider
            view than pneumonias, so both classes look alike in size only if normals are enlarged further.
    """

    share: float = 0.85
    rotation: float = 15.0
    shift: float = 0.10
    scale: tuple[float, float] = (0.8, 1.3)
    anisotropy: float = 0.12
    low_resolution: float = 0.2
    sharpness: float = 1.0
    gamma: float = 0.35
    tone: float = 0.4
    contrast: float = 0.4
    brightness: float = 0.2
    noise: float = 0.02
    spectrum: float = 0.4
    erase: float = 0.33
    mirror: float = 0.0
    normal_largest: float | None = None


def augment(
    images: Tensor, settings: Augmentation, generator: torch.Generator, labels: Tensor | None = None
) -> Tensor:
    """Transform each image by its own draw.

    Args:
        images: float32 of shape (n, 1, 64, 64), values 0..1; may be overwritten.
        settings: Ranges and shares.
        generator: All randomness.
        labels: int64 of shape (n,), 0 normal; needed where `settings.normal_largest` is set.
    """
    images = _mirror(images, settings, generator)
    images = _mix_spectra(images, settings, generator)
    images = _move(images, settings, generator, _enlarge(len(images), settings, labels))
    images = _lower_resolution(images, settings, generator)
    images = _change_tones(images, settings, generator)
    return _erase(images, settings, generator).clamp(0, 1)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low


def _chosen(count: int, share: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) < share


def _mirror(images: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    if not settings.mirror:  # draws nothing: runs without mirroring repeat those of 0.1.0
        return images
    turned = _chosen(len(images), settings.mirror, generator)
    return torch.where(turned.view(-1, 1, 1, 1), images.flip(3), images)


def _enlarge(count: int, settings: Augmentation, labels: Tensor | None) -> Tensor:
    """By what the logarithm of a zoom above 1 is multiplied, for each image.

    How often an image is made smaller, and mirrored borders come in, stays the same for both classes.
    """
    factor = torch.ones(count)
    if settings.normal_largest is not None:
        if labels is None:
            raise ValueError("a zoom of its own for normals needs the labels")
        factor[labels == 0] = math.log(settings.normal_largest) / math.log(settings.scale[1])
    return factor


def _mix_spectra(images: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    count = len(images)
    other = torch.randperm(count, generator=generator)
    amount = torch.rand(count, generator=generator) * _chosen(count, settings.spectrum, generator)
    if not amount.any():
        return images
    spectrum = torch.fft.rfft2(images)
    amplitude, part = spectrum.abs(), amount.view(-1, 1, 1, 1)
    mixed = torch.polar((1 - part) * amplitude + part * amplitude[other], spectrum.angle())
    result: Tensor = torch.fft.irfft2(mixed, s=images.shape[-2:]).clamp(0, 1)
    return result


def _move(images: Tensor, settings: Augmentation, generator: torch.Generator, enlarge: Tensor) -> Tensor:
    """Rotate, zoom, stretch and shift; what comes in from outside is the picture mirrored.

    Black there instead would tell the network which images are untouched: validation ones always are.
    """
    count = len(images)
    moved = _chosen(count, settings.share, generator).float()

    def draw(limit: float) -> Tensor:
        return moved * _uniform(count, -limit, limit, generator)

    angle = draw(math.radians(settings.rotation))
    smallest, largest = settings.scale
    zoom = moved * _uniform(count, math.log(smallest), math.log(largest), generator)
    zoom = torch.exp(torch.where(zoom > 0, zoom * enlarge, zoom))
    stretch = torch.exp(draw(settings.anisotropy))
    x, y = 1 / (zoom * stretch), stretch / zoom
    rows = [
        torch.stack([angle.cos() * x, -angle.sin() * y, draw(2 * settings.shift)], dim=1),
        torch.stack([angle.sin() * x, angle.cos() * y, draw(2 * settings.shift)], dim=1),
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _lower_resolution(images: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    low = _chosen(len(images), settings.low_resolution, generator)
    if low.any():
        small = functional.interpolate(
            images[low], size=28, mode="bilinear", antialias=True, align_corners=False
        )
        images[low] = functional.interpolate(
            small, size=images.shape[-1], mode="bilinear", align_corners=False
        )
    return images


def _change_tones(images: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    count = len(images)
    changed = _chosen(count, settings.share, generator).float()

    def draw(low: float, high: float) -> Tensor:
        return (changed * _uniform(count, low, high, generator)).view(-1, 1, 1, 1)

    binomial = torch.tensor([1.0, 2.0, 1.0])
    kernel = (binomial[:, None] * binomial / 16)[None, None]
    blurred = functional.conv2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), kernel)
    images = (images + draw(-settings.sharpness, settings.sharpness) * (blurred - images)).clamp(0, 1)
    images = images ** draw(-settings.gamma, settings.gamma).exp()
    images = _bend_tones(images, settings, generator)
    mean = images.mean((2, 3), keepdim=True)
    images = (images - mean) * (1 + draw(-settings.contrast, settings.contrast)) + mean
    images = images + draw(-settings.brightness, settings.brightness)
    return images + torch.randn(images.shape, generator=generator) * draw(0, settings.noise)


def _bend_tones(images: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """A rising curve of eight straight pieces through (0, 0) and (1, 1)."""
    count, pieces = len(images), 8
    steps = torch.rand(count, pieces, generator=generator) * 1.6 + 0.2
    curve = torch.cat([torch.zeros(count, 1), (steps / steps.sum(1, keepdim=True)).cumsum(1)], dim=1)
    position = (images.clamp(0, 1) * pieces).view(count, -1)
    piece = position.floor().long().clamp(0, pieces - 1)
    inside = position - piece
    bent = torch.gather(curve, 1, piece) * (1 - inside) + torch.gather(curve, 1, piece + 1) * inside
    return torch.where(
        _chosen(count, settings.tone, generator).view(-1, 1, 1, 1), bent.view_as(images), images
    )


def _erase(images: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    side = images.shape[-1]
    for row in _chosen(len(images), settings.erase, generator).nonzero().ravel().tolist():
        height, width = torch.randint(8, 25, (2,), generator=generator).tolist()
        top = int(torch.randint(0, side - height + 1, (1,), generator=generator))
        left = int(torch.randint(0, side - width + 1, (1,), generator=generator))
        images[row, :, top : top + height, left : left + width] = torch.rand(1, generator=generator)
    return images
