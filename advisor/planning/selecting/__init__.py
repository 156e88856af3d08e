"""Which of the plans that were priced is the answer, and what stands beside it."""
