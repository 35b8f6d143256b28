"""What exports are made of: sums by stack, changes of live memory, allocations one by one."""
