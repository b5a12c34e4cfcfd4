"""scikit-learn's digits, which need no network."""

import torch

from dashlib.data import Dataset, Images


def load_digits() -> Dataset:
    """scikit-learn's 8x8 digits: 1,500 to train on, 297 held out, a fixed stratified split."""
    from sklearn import datasets, model_selection

    bunch = datasets.load_digits()
    parts = model_selection.train_test_split(
        bunch.images, bunch.target, train_size=1500, random_state=0, stratify=bunch.target
    )
    x_train, x_test = (torch.from_numpy(p).float()[:, None] / 8 - 1 for p in parts[:2])
    y_train, y_test = (torch.from_numpy(p).long() for p in parts[2:])
    return Dataset("digits", 10, Images(x_train, y_train), Images(x_test, y_test))
