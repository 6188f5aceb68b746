"""What an update and a whole run take: time, products, memory, and growth."""
