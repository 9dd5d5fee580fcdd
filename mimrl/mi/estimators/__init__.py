"""Estimators of mutual information behind one interface; see :mod:`.interface`."""
