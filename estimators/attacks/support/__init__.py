"""What the attacks share: the channel they listen to, the loop they descend with, how they are scored."""
