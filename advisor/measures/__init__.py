"""Formulas that an estimator and a privacy term share: pure functions of tensors."""
