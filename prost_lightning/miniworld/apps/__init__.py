"""What is in each app of a generated world, as plain data: one file an app, no engine."""
