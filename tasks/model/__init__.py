"""What the entries of a MuJoCo model are called and bounded by."""
