"""Links: what the network between edge and cloud can do, and how long a message takes on it."""
