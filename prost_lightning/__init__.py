"""Train teams of small language models sub-task by sub-task, and see what each team costs."""
