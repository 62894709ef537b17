"""The experiment's config: read, checked, completed. No torch here: every job imports this."""
