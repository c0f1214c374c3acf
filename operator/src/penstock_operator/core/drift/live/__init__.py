"""Drift on live traffic: from what pods say they counted to what is wrong, one revision at a time."""
