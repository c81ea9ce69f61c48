"""Model files: Hugging Face folders, hub names and GGUF, read and written without torch."""
