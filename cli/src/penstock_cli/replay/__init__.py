"""What policies would have done on past metrics: files in, decisions out, by the code that judges live."""
