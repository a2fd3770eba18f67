"""What is measured: ten tasks, their prompts, scoring rules and statistics."""
