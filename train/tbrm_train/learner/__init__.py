"""From a batch of trajectories to a step: packing, processes, DeepSpeed."""
