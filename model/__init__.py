"""AKI for transformers: modality-mutual attention over a SigLIP tower, a perceiver resampler and a text decoder."""
