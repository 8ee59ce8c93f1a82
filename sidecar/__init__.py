"""A sidecar that registers, gates and meters a paid AWS Marketplace container product."""

__version__ = "0.1.0"
