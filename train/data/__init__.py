"""What is trained on: caption shards, instruction sets, their mixture, and batches made of them."""
