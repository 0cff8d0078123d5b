"""The command line: one module per command, loaded when the command is used, so that `--help` stays quick.

Only the list of commands stands here; what a command does stands in its module, and what it does to the database in
the rooms below.
"""

import click

from gateway_proxy.cli.group import Entry, GatewayGroup, LazyCommands

COMMANDS = LazyCommands(
    "gateway_proxy.cli",
    {
        "serve": Entry("serve", "Serve the gateway over HTTP."),
        "runner": Entry("runner", "Host stdio and SSE servers for gateways elsewhere."),
        "migrate": Entry("migrate", "Bring the database to this version's schema."),
        "apply": Entry("apply", "Make the database match a configuration file."),
        "export": Entry("export", "Print the configuration that the database holds."),
        "user": Entry("user", "Add people and change their roles."),
        "token": Entry("token", "Create, list and revoke personal access tokens."),
        "backup": Entry("backup", "Write everything that the database holds to one file."),
        "restore": Entry("restore", "Write a backup back to a database."),
        "doctor": Entry("doctor", "Say why a client does not connect to an MCP server."),
        "keys": Entry("keys", "Rotate the secret keys that credentials are sealed under."),
    },
)

main: click.Group = GatewayGroup(
    "gateway-proxy",
    commands=COMMANDS,
    help="""One gateway that puts a team's tools in front of every AI client.

    \b
    Examples:
      gateway-proxy serve --config gateway.yaml
      gateway-proxy apply gateway.yaml --dry-run
      gateway-proxy token create --user ann@example.com --tenant acme --scope "mcp openai"

    Settings are read from the environment (GATEWAY_…); see docs/reference/settings.md.
    """,
)
