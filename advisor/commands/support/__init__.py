"""What commands share: options, inputs, outputs, progress and how they end."""
