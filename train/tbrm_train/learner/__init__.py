"""From a batch of trajectories to an optimiser step: packing, processes, DeepSpeed."""
