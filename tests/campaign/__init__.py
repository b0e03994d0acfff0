"""Campaigns: many runs in bad conditions, as scripts; their short forms are tests."""
