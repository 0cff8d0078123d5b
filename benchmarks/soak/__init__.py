"""Uses a gateway for long and looks whether what it held comes back: `scripts/soak`, `scripts/soak --short`.

`site` starts the installation, the phases (`calls`, `sessions`, `streams`, `trouble`, `refreshes`) use it, `figures`
looks at it from outside, `verdict` knows what may stay. Nothing here measures speed.
"""
