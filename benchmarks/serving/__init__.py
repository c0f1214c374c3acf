"""`make bench-serving`: Penstock's server side by side with others, one core for the server, one for the client."""
