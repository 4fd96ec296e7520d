"""retouch: a declarative batch processor for image-editing models."""

__version__ = "0.1.0"
