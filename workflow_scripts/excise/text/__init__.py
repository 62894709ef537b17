"""Text: words, values, names and vocabulary. Nothing here knows a model or a file format."""
