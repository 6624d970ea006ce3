"""The layers and blocks that encoders and decoders are built from."""
