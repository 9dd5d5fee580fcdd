"""MIMRL: multimodal sentiment models steered by mutual information."""

__version__ = "0.1.0"
