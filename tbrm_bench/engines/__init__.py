"""Engines turn SampleRequests into Samples: `vllm` (fast), `hf` (transformers, the reference)."""
