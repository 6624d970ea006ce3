"""What the commands are made of: settings, devices, training, inference, evaluation, export. `base` is below all."""
