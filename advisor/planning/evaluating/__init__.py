"""What a plan costs, leaks and answers: cut × defense."""
