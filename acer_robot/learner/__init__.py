"""One update of Algorithm 3 on a batch of segments; knows no environment, file or command."""
