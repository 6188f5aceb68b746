"""The exported policy: the TorchScript module, its file, and other formats."""
