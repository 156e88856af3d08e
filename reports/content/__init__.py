"""What an advice says, as data and plain words, before any format."""
