"""What the server counts of the rows that it answers, and the reference that they are compared with."""
