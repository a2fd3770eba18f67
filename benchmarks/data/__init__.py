"""Where the samples come from: the official tables, fetched, verified, locked and read."""
