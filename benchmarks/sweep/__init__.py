"""CIFAR-10 with the paper's networks on one GPU: students side by side, then their scores."""
