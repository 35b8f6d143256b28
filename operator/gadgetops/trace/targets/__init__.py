"""What can be recorded: a command, processes, a container, the host; and the processes that appear later."""
