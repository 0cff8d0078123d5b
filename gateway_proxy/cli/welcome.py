"""What a first look prints (`serve --bootstrap`): where to sign in and connect, and with which secrets, once."""

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway_proxy.provisioning.desired_state import DEFAULT_TENANT

ADMINISTRATOR: Final = "admin@example.com"
PROGRAM: Final = "gateway-proxy"


@dataclass(frozen=True, slots=True)
class FirstSecrets:
    """What is printed once."""

    password: str = field(repr=False)
    token: str = field(repr=False)


def welcome(public_url: str, secrets: FirstSecrets | None, *, program: str) -> str:
    """What a person needs to go on, for the terminal; `program` is how to call us from there."""
    lines = ["", "The gateway is starting. What you need:", ""]
    lines.append(f"  Sign in            {public_url}/sign-in")
    if secrets is not None:
        lines += [f"    e-mail:          {ADMINISTRATOR}", f"    one-time password: {secrets.password}"]
        lines.append("    (shown this one time; it signs in until you change it under Account)")
    lines += [
        "",
        f"  Claude and others  {public_url}/mcp",
        "    add it as a custom connector; the browser asks you to sign in and to allow it",
        "    (Claude on the web needs a public https address: see docs/setup)",
        "",
        f"  Open WebUI         {public_url}/v1",
        "    Settings, Connections, OpenAI API: this URL, the model is mcp-gateway, and as key",
    ]
    if secrets is not None:
        lines += [f"    bearer token:    {secrets.token}", "", "  These secrets are shown only now. Lost them?"]
    else:
        lines += ["    a token of yours", "", "  Its secrets were shown at the first start. Lost them?"]
    lines += [
        f"    {program} user add {ADMINISTRATOR} --tenant {DEFAULT_TENANT} --role owner --password-stdin",
        f'    {program} token create --user {ADMINISTRATOR} --tenant {DEFAULT_TENANT} --scope "mcp openai"',
        "",
        f"  Next: put your own servers into a gateway.yaml (README.md), then: {program} apply gateway.yaml",
        "",
    ]
    return "\n".join(lines)


def program_path() -> str:
    """How this installation is called from the current folder: by its name where a shell finds it, else its path."""
    beside = Path(sys.executable).with_name(PROGRAM)
    if shutil.which(PROGRAM) == str(beside) or not beside.exists():
        return PROGRAM
    return str(beside.relative_to(Path.cwd())) if beside.is_relative_to(Path.cwd()) else str(beside)
