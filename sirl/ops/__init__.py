"""Array math: no model, no text, no files."""
