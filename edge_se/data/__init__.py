"""CIFAR-10, its splits, augmentation and calibration sets."""
