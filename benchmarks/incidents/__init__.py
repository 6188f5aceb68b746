"""What a run or a robot has to survive, and how it is judged."""
