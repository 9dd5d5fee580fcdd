"""Search for settings on the validation split: ``python -m mimrl.tune``, with Optuna underneath.

Several workers, on one host or many, share a study through its storage. The test split is not read.
"""
