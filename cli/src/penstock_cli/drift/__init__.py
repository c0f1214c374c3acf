"""Drift on a file: rows in, what has drifted in which window out, by the code that judges live traffic."""
