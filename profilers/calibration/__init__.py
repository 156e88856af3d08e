"""This machine, or any that is at hand, calibrated: chains of operators timed, and a model of each kind of operator."""
