"""What operator and server must agree on: names, environment, file formats."""
