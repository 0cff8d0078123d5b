"""What the gateway is measured against. Each module starts one peer, or is the program of one."""
