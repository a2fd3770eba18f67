"""What people look at: tables, pages, figures, and the numbers of the paper as data."""
