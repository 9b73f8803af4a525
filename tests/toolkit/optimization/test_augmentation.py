"""What training does to images: mirroring, and a zoom of its own for normals."""

from __future__ import annotations

import pytest
import torch

from udacimed_edge.optimization.augmentation import Augmentation, augment

NOTHING = Augmentation(share=0.0, low_resolution=0.0, tone=0.0, spectrum=0.0, erase=0.0)


def drawn(count: int) -> torch.Tensor:
    """Noise, the same each time."""
    return torch.rand(count, 1, 64, 64, generator=torch.Generator().manual_seed(1))


def test_half_of_the_images_are_mirrored() -> None:
    """Each image comes back as it was or turned left to right, about as often."""
    images, settings = drawn(200), Augmentation(**{**vars(NOTHING), "mirror": 0.5})
    after = augment(images.clone(), settings, torch.Generator().manual_seed(2))
    turned = (after - images.flip(3)).abs().amax((1, 2, 3)) < 1e-4
    same = (after - images).abs().amax((1, 2, 3)) < 1e-4
    assert (turned ^ same).all()
    assert 70 < int(turned.sum()) < 130


def test_normals_are_enlarged_further() -> None:
    """At the same draw a normal is enlarged more than a pneumonia, and made smaller by no more."""
    # a bright line at a known distance from the middle tells the zoom
    images = torch.zeros(300, 1, 64, 64)
    images[:, :, :, 36:] = 1.0  # an edge 4 pixels right of the middle
    settings = Augmentation(**{**vars(NOTHING), "share": 1.0, "rotation": 0.0, "shift": 0.0})
    settings = Augmentation(
        **{**vars(settings), "anisotropy": 0.0, "sharpness": 0.0, "gamma": 0.0, "contrast": 0.0}
    )
    settings = Augmentation(**{**vars(settings), "brightness": 0.0, "noise": 0.0, "normal_largest": 1.5})

    def distance(label: int) -> torch.Tensor:
        labels = torch.full((300,), label)
        after = augment(images.clone(), settings, torch.Generator().manual_seed(4), labels)
        return 32 - after[:, 0, 32].sum(1)

    normal, ill = distance(0) / 4, distance(1) / 4
    assert 1.2 < float(ill.max()) < 1.35
    assert 1.4 < float(normal.max()) < 1.56
    smaller = ill < 1
    assert torch.equal(normal[smaller], ill[smaller])
    assert (normal[~smaller] >= ill[~smaller]).all()


def test_a_zoom_of_its_own_needs_labels() -> None:
    """Without labels nobody can tell which images are normals."""
    with pytest.raises(ValueError, match="needs the labels"):
        augment(drawn(2), Augmentation(normal_largest=1.5), torch.Generator().manual_seed(1))


def test_version_0_1_0_is_repeated() -> None:
    """Without the new settings, the same seed draws what it drew for the models of 0.1.0."""
    after = augment(drawn(16), Augmentation(), torch.Generator().manual_seed(5))
    assert after.mean((1, 2, 3))[:4].tolist() == pytest.approx([0.5540, 0.5646, 0.5774, 0.6921], abs=1e-4)
