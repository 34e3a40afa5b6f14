"""Who may come in: passwords, tokens, cookies, and how often somebody may try."""
