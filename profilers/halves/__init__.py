"""How long the edge half and the cloud half of every cut take, of a variant too."""
