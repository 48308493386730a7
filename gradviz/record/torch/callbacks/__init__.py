"""Trainers of others that are watched and recorded by callbacks."""
