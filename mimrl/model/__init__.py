"""The network: encoders, fusion, head."""
