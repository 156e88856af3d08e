"""How several advices are shown side by side."""
