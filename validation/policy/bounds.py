"""The policy's bounds as they are unless a person says otherwise; light, since options show them too."""

from __future__ import annotations

__all__ = ["MAX_AUC_DROP", "MAX_SPECIFICITY_DROP", "MIN_AGREEMENT", "MIN_SENSITIVITY", "MIN_SPECIFICITY"]

MIN_SENSITIVITY = 0.98
"""Share of the images with pneumonia that must be found; a threshold set here reaches it on validation."""

MIN_SPECIFICITY = 0.50
"""A model below this calls most healthy people ill; nothing made from it is worth shipping."""

MAX_SPECIFICITY_DROP = 0.03
MAX_AUC_DROP = 0.01
MIN_AGREEMENT = 0.98
