"""What a training leaves behind: checkpoints, numbers of its steps, what it was made of, pushes."""
