"""Admission control: how many requests are worked on at a time, and how the others are answered."""
