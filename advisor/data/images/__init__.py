"""Images from files: told by their bytes, decoded when asked, brought to a size."""
