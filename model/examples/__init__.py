"""How to use AKI, as programs."""
