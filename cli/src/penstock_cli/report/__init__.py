"""A policy's report: one HTML file with everything that it found."""
