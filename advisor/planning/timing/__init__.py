"""How long a run may take, and what it leaves out for that."""
