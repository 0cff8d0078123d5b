"""`python -m gateway_proxy` is the command line."""

from gateway_proxy.cli import main

if __name__ == "__main__":
    main()
