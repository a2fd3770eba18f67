"""AKI as its authors publish it: configuration, names of tensors, weights, and the way to our form and back."""
