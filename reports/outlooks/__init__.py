"""How an outlook is shown."""
