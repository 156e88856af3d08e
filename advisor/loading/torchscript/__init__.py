"""TorchScript archives: their code and graphs held to lists before anything runs, then as exported programs."""
