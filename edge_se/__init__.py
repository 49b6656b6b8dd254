"""edge-se: small-image classifiers from training to the edge, with INT8 that is measured, not hoped for."""

__version__ = "0.1.0"
