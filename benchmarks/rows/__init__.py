"""Runs that leave a row in a table, and what every table, figure and command line of the benchmarks shares."""
