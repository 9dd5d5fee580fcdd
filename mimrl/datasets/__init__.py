"""From files people have to batches of tensors."""
