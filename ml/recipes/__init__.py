"""Estimators for particular data, plain scikit-learn: they know no warehouse."""
