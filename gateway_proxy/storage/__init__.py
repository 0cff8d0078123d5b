"""What outlives the process. `sql` is the truth; `redis` is speed and coordination. Functions, no decisions."""
