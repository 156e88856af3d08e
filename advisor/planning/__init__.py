"""From measurements to an answer: cut × defense priced, searched, verified, and said in words."""
