"""The sub-commands of `advisor`, one file each; everything heavy is imported inside the command that needs it."""
