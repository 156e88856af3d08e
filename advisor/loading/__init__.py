"""Models from files and names: told apart by their bytes, and never run unasked."""

from advisor.loading.model import LoadedModel, load_model

__all__ = ["LoadedModel", "load_model"]
