"""What modules of every layer lean on: text, documents, memory, threads, signals, torch left as it was found."""
