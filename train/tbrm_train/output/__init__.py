"""What a training writes: checkpoints, metrics, fingerprints of its inputs, pushes to the Hub."""
