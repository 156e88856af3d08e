"""How the search fares: regret against a table of ground truth, kills and resumes, workers on PostgreSQL."""
