"""The release gate: what is checked, opened and measured again."""
