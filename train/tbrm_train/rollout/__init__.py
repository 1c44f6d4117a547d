"""Trajectories from the current policy, and their rewards."""
