"""The ground floor: configuration, files, devices, training loop, pictures. Imports no other room."""
