"""MMG: mutual information by the gap between two denoising errors."""
