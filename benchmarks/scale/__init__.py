"""How many rollouts one operator carries at once."""
