"""Says from counts whether live rows are distributed as the reference was, within a budget of false alarms."""
