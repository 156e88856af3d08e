"""Which cheap estimator predicts what a strong attack recovers: nets, attacks, estimates, and the table of both."""
