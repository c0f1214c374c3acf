"""Penstock's judge side by side with the rules that other controllers decide by, on the same simulated traffic."""
