"""Reading configuration files: every shape, and everything that is wrong with one at once."""

from pathlib import Path

import pytest

from gateway_proxy.domain.backend import Transport
from gateway_proxy.domain.errors import ConfigFileInvalid
from gateway_proxy.domain.tenant import Naming, Role
from gateway_proxy.provisioning.config_file import read_config_file
from gateway_proxy.provisioning.desired_state import DesiredState

CONTRACT_EXAMPLE = """
tenants:
  acme:
    name: Acme
    naming: {prefix: server, separator: "__"}    # prefix: none = one backend, names untouched
    mcpServers:                                   # the shape that desktop clients use
      calc:   {command: python, args: [./calc.py], env: {A: b}, cwd: ., isolation: tenant}
      legacy: {transport: sse, url: "https://tools.example/sse"}
      remote: {transport: streamable-http, url: "https://t.example/mcp", headers: {Authorization: "Bearer ${TOKEN}"}}
      shop:   {transport: openapi, url: "https://shop.example/openapi.json"}
    providers:
      local:  {kind: openai, base_url: "http://127.0.0.1:1234/v1", api_key: "${KEY:-}", timeout: 300,
               default_headers: {}}
      claude: {kind: anthropic, api_key: "${ANTHROPIC_API_KEY}"}
    assistants:
      - {name: research, provider: local, model: gpt-4o, system_prompt: "…", mcp_servers: [calc],
         max_tool_iterations: 8, temperature: 0.2, top_p: 1, max_tokens: 1024, extra_body: {}, description: "…"}
users:
  - {email: ann@example.com, password: "${ANN_PASSWORD}", tenants: {acme: owner}}
"""
SECRETS = {"TOKEN": "t0ken", "ANTHROPIC_API_KEY": "key-a", "ANN_PASSWORD": "a long password"}


def read(folder: Path, text: str, environ: dict[str, str] | None = None, name: str = "gateway.yaml") -> DesiredState:
    path = folder / name
    path.write_text(text, "utf-8")
    return read_config_file(path, environ or {})


def problems_of(folder: Path, text: str, environ: dict[str, str] | None = None, name: str = "x.yaml") -> list[str]:
    with pytest.raises(ConfigFileInvalid) as caught:
        read(folder, text, environ, name)
    return list(caught.value.problems)


def test_the_example_of_the_contract_is_read(tmp_path: Path) -> None:
    """Contract, configuration file."""
    desired = read(tmp_path, CONTRACT_EXAMPLE, SECRETS)

    acme = desired.find_tenant("acme")
    assert acme is not None
    assert (acme.name, acme.naming) == ("Acme", Naming("server", "__"))
    calc, legacy, remote, shop = acme.backends
    assert (calc.transport, calc.command, calc.args, calc.env) == (
        Transport.STDIO,
        "python",
        ("./calc.py",),
        {"A": "b"},
    )
    assert (calc.cwd, calc.isolation, calc.origin) == (str(tmp_path), "tenant", "operator")
    assert (legacy.transport, legacy.url) == (Transport.SSE, "https://tools.example/sse")
    assert (remote.transport, remote.headers) == (Transport.STREAMABLE_HTTP, {"Authorization": "Bearer t0ken"})
    assert shop.transport is Transport.OPENAPI
    local, claude = acme.providers
    assert (local.kind, local.base_url, local.api_key, local.timeout) == ("openai", "http://127.0.0.1:1234/v1", "", 300)
    assert (claude.base_url, claude.api_key) == ("https://api.anthropic.com/v1", "key-a")
    (research,) = acme.assistants
    assert (research.provider, research.mcp_servers, research.temperature) == ("local", ("calc",), 0.2)
    (ann,) = desired.users
    assert (ann.email, ann.password, ann.tenants) == ("ann@example.com", "a long password", {"acme": Role.OWNER})


def test_everything_that_is_wrong_is_named_at_once_with_its_key_path(tmp_path: Path) -> None:
    """Contract, errors: the message names the field and what was expected."""
    problems = problems_of(
        tmp_path,
        """
        tenants:
          Acme:
            nam: Acme
            naming: {prefix: none, separator: "-"}
            mcpServers:
              calc_x: {command: python, arg: [a], env: {A: 8}, isolation: tennant, timeout: 0}
              old: {transport: ssee, url: "https://x/sse"}
        users:
          - {emial: ann, tenants: {acme: boss}}
          - 7
        """,
    )

    assert problems == [
        "tenants.Acme: expected text matching regex '^[a-z0-9][a-z0-9-]{0,62}$'",
        'tenants.Acme.nam: unknown key (did you mean "name"?)',
        "tenants.Acme.naming.separator: expected one of __, .",
        "tenants.Acme.mcpServers.calc_x: expected text matching regex '^[A-Za-z0-9][A-Za-z0-9-]{0,30}$'",
        'tenants.Acme.mcpServers.calc_x.arg: unknown key (did you mean "args"?)',
        "tenants.Acme.mcpServers.calc_x.env.A: expected text, got a whole number (put it in quotes)",
        "tenants.Acme.mcpServers.calc_x.isolation: expected one of tenant, user, session",
        "tenants.Acme.mcpServers.calc_x.timeout: expected a number > 0.0",
        "tenants.Acme.mcpServers.old.transport: expected one of stdio, sse, streamable-http, http, openapi",
        'users[0].emial: unknown key (did you mean "email"?)',
        "users[0].tenants.acme: expected one of owner, admin, member",
        "users[0].email: required, but missing",
        "users[1]: expected a mapping, got a number",
    ]


@pytest.mark.parametrize(
    ("server", "transport"),
    [
        ("{command: x}", Transport.STDIO),
        ('{url: "https://x/mcp"}', Transport.AUTO),
        ('{transport: http, url: "https://x/mcp"}', Transport.STREAMABLE_HTTP),
        ('{type: http, url: "https://x/mcp"}', Transport.STREAMABLE_HTTP),
        ('{type: stdio, command: "x"}', Transport.STDIO),
    ],
)
def test_the_transport_follows_from_what_is_written(tmp_path: Path, server: str, transport: Transport) -> None:
    """Contract: without transport, command is stdio and url is tried; http is streamable-http."""
    desired = read(tmp_path, f"mcpServers: {{a: {server}}}")

    assert desired.tenants[0].backends[0].transport is transport


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ("{}", "mcpServers.a: expected command (a program to start) or url (a server to reach), got neither"),
        ('{command: x, url: "https://x"}', "mcpServers.a: expected command or url, got both"),
        ("{transport: sse, command: x}", "mcpServers.a: transport sse needs url"),
        ('{transport: stdio, url: "https://x"}', "mcpServers.a: transport stdio needs command"),
        ('{transport: sse, type: http, url: "https://x"}', "mcpServers.a.type: says something else than transport"),
        ('{url: "https://x", args: [a]}', "mcpServers.a.args: only with command"),
        ("{command: x, headers: {A: b}}", "mcpServers.a.headers: only with url"),
        ('{url: "ftp://x"}', "mcpServers.a.url: expected a URL that starts with https:// or http://"),
        ('{url: "https://me:pw@x/"}', "mcpServers.a.url: expected no user or password in the URL"),
        ('{url: "https://x:99999/"}', "mcpServers.a.url: expected a URL such as https://host/path"),
        ('{url: "https://x", headers: {"a b": c}}', "mcpServers.a.headers.a b: expected the name of a header"),
        ('{url: "https://x", headers: {a: "b\\nc"}}', "mcpServers.a.headers.a: expected one line"),
        ('{url: "https://x", headers: {a: b, A: c}}', "mcpServers.a.headers.A: stands here twice, in another case"),
        ("{command: x, env: {A=B: c}}", "mcpServers.a.env.A=B: expected a name of letters, digits and _"),
        ("{command: x, encoding: klingon}", "mcpServers.a.encoding: expected the name of a text encoding"),
        ('{serverUrl: "https://x"}', 'mcpServers.a.serverUrl: unknown key (did you mean "url"?)'),
    ],
)
def test_a_server_that_makes_no_sense_is_refused(tmp_path: Path, server: str, problem: str) -> None:
    """Compatibility B2: a clear error that names the server and the key."""
    assert problems_of(tmp_path, f"mcpServers: {{a: {server}}}")[0].startswith(problem)


def test_names_untouched_with_two_servers_is_refused(tmp_path: Path) -> None:
    """Contract, names of tools: `prefix: none` is for a single backend."""
    text = "tenants: {t: {naming: {prefix: none}, mcpServers: {a: {command: x}, b: {command: y}}}}"

    assert problems_of(tmp_path, text) == [
        'tenants.t.naming.prefix: "none" is for one server, and 2 stand under mcpServers'
    ]


def test_an_assistant_must_name_a_provider_and_servers_that_exist(tmp_path: Path) -> None:
    """Plan of the configuration file; compatibility D11."""
    text = """
    tenants:
      t:
        mcpServers: {calc: {command: x}}
        providers: {local: {base_url: "http://127.0.0.1:1/v1"}}
        assistants:
          - {name: a, provider: locl, model: m, mcp_servers: [calk]}
          - {name: a, backend: local, model: m}
    """
    assert problems_of(tmp_path, text) == [
        'tenants.t.assistants[1].backend: unknown key (did you mean "provider"?)',
        "tenants.t.assistants[1].provider: required, but missing",
    ]
    text = text.replace("backend: local", "provider: local")
    assert problems_of(tmp_path, text) == [
        'tenants.t.assistants[0].provider: no provider "locl" here (did you mean "local"?)',
        'tenants.t.assistants[0].mcp_servers[0]: no server "calk" here (did you mean "calc"?)',
        'tenants.t.assistants[1].name: "a" stands here twice',
    ]


def test_people_are_one_entry_each_with_a_password_that_can_be_hashed(tmp_path: Path) -> None:
    """Security K4: 8 to 1024 bytes."""
    problems = problems_of(
        tmp_path, "users: [{email: Ann@x.example}, {email: ann@x.example, password: short}, {email: nobody}]"
    )
    assert problems == ["users[2].email: expected text matching regex '^[^@ ]+@[^@ ]+$'"]

    problems = problems_of(tmp_path, "users: [{email: Ann@x.example}, {email: ann@x.example, password: short}]")
    assert problems == [
        'users[1].email: "ann@x.example" stands here twice',
        "users[1].password: expected 8 to 1024 bytes",
    ]


def test_the_file_of_a_desktop_client_goes_into_the_default_tenant(tmp_path: Path) -> None:
    """Contract: a bare mcpServers file; compatibility B1."""
    desired = read(
        tmp_path,
        '{"mcpServers": {"fs": {"command": "npx", "args": ["-y", "fs"], "disabled": true}, "r": {"url": "http://h/"}}}',
        name="claude.json",
    )

    (tenant,) = desired.tenants
    assert tenant.slug == "default"
    assert [(backend.name, backend.enabled) for backend in tenant.backends] == [("fs", False), ("r", True)]


def test_what_other_programs_keep_in_the_file_is_passed_over_and_named(tmp_path: Path) -> None:
    """Contract: a bare mcpServers file is read as it is."""
    text = """{
      "globalShortcut": "Ctrl+Space",
      "preferences": {"menuBarEnabled": false},
      "mcpServers": {
        "fs": {"command": "npx", "autoApprove": ["read"], "alwaysAllow": [], "disabled": true},
        "r": {"url": "http://h/", "disabled": null}
      }
    }"""
    desired = read(tmp_path, text, name="claude.json")

    assert [(backend.name, backend.enabled) for backend in desired.tenants[0].backends] == [("fs", False), ("r", True)]
    assert desired.notices == (
        "passed over, they are for another program: globalShortcut, preferences, mcpServers.fs.autoApprove, "
        "mcpServers.fs.alwaysAllow",
    )
    older = read(tmp_path, "mcp_servers: [{name: fs, command: npx, autoApprove: [read]}]")
    assert older.notices == ("passed over, they are for another program: mcp_servers[0].autoApprove",)
    ours = read(tmp_path, "tenants: {acme: {mcpServers: {fs: {command: npx, trust: true}}}}")
    assert ours.notices == ("passed over, they are for another program: tenants.acme.mcpServers.fs.trust",)


def test_a_misspelt_key_stays_a_mistake_beside_those_of_other_programs(tmp_path: Path) -> None:
    """Contract, errors: nothing that somebody wrote for us is passed over, nor what limits a server."""
    text = '{"globalShortcut": "", "mcpServers": {"fs": {"command": "npx", "disabeld": true, "disabledTools": ["rm"]}}}'
    assert problems_of(tmp_path, text, name="claude.json") == [
        'mcpServers.fs.disabeld: unknown key (did you mean "disabled"?)',
        'mcpServers.fs.disabledTools: unknown key (did you mean "disabled"?)',
    ]


def test_nothing_behind_an_optional_key_is_as_good_as_no_key(tmp_path: Path) -> None:
    """Compatibility B1, D1: files of older systems are read as they are, and programs write `null`."""
    text = """
    mcp_servers:
      calc: {command: x, args: null, env: null, headers: null, timeout: null, cwd: null, isolation: null}
    backends: {local: {kind: null, base_url: null, api_key: null, timeout: null, default_headers: null}}
    assistants: [{name: a, backend: local, model: m, system_prompt: null, description: null, mcp_servers: null}]
    proxy_api_keys: null
    """
    bare = read(
        tmp_path,
        "{mcp_servers: {calc: {command: x}}, backends: {local: {}}, assistants: [{name: a, backend: local, model: m}]}",
    )
    assert read(tmp_path, text) == bare
    assert problems_of(tmp_path, "mcp_servers: {}\nassistants: [{name: a, backend: null, model: m}]") == [
        "assistants[0].backend: expected text, got nothing"
    ]


@pytest.mark.parametrize("name", ["My Assistant", "Frau Müller's helper (v2)", "team/writer:latest", "助手", "x" * 64])
def test_assistants_are_named_as_people_name_them(tmp_path: Path, name: str) -> None:
    """Compatibility D1: the older configuration has no rule for names."""
    text = f'backends: {{p: {{}}}}\nassistants: [{{name: "{name}", backend: p, model: m}}]'
    assert read(tmp_path, text).tenants[0].assistants[0].name == name


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "/a", "a/", "..", "a?b", "a#b", "50%", "a\\\\b", "a\\nb", "a\\n", "a\\u200bb", "x" * 65]
)
def test_a_name_that_no_path_could_hold_or_nobody_see_is_refused(tmp_path: Path, name: str) -> None:
    """Contract, errors: the message names what was expected. The name is the id of a model, also in a path."""
    text = f'backends: {{p: {{}}}}\nassistants: [{{name: "{name}", backend: p, model: m}}]'
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith("assistants[0].name: expected 1 to 64 printable characters")


OLDER = """
mcp_servers:
  calc: {command: python, args: [calc.py]}
backends:
  local: {kind: openai, base_url: "http://127.0.0.1:1234/v1/", api_key: "${KEY:-none}", timeout: 60}
assistants:
  - name: helper
    backend: local
    model: gpt-4o
    system_prompt: Be brief.
    mcp_servers: [calc]
    max_tool_iterations: 4
    extra_body: {seed: 7}
proxy_api_keys: [0123456789abcdef, {name: bob, key: fedcba9876543210}]
apiman:
  enabled: true
  mode: gateway_probe
  gateway_url: https://apiman.example/gw/
  probe_api: org/api/1.0
  probe_path: /ping
"""


def test_the_assistants_proxy_s_configuration_goes_into_the_default_tenant(tmp_path: Path) -> None:
    """Compatibility D1, D14."""
    (tenant,) = read(tmp_path, OLDER).tenants

    assert tenant.slug == "default"
    assert [backend.name for backend in tenant.backends] == ["calc"]
    assert [(provider.base_url, provider.api_key) for provider in tenant.providers] == [
        ("http://127.0.0.1:1234/v1", "none")
    ]
    (helper,) = tenant.assistants
    assert (helper.provider, helper.mcp_servers, helper.max_tool_iterations) == ("local", ("calc",), 4)
    assert helper.extra_body == {"seed": 7}
    assert tenant.static_keys == {"key-1": "0123456789abcdef", "bob": "fedcba9876543210"}
    assert tenant.apiman is not None
    assert (tenant.apiman.gateway_url, tenant.apiman.probe_path) == ("https://apiman.example/gw", "ping")


def test_problems_of_the_older_shape_name_its_own_keys(tmp_path: Path) -> None:
    """Contract, errors: the message names the field, as it was written."""
    text = """
    backends: {local: {base_url: "ftp://h"}}
    assistants: [{name: a, backend: locl, model: m}]
    """
    assert problems_of(tmp_path, text) == [
        "backends.local.base_url: expected a URL that starts with https:// or http:// and names a host",
        'assistants[0].backend: no provider "locl" here (did you mean "local"?)',
    ]


def test_the_older_shape_may_also_be_written_with_lists_and_mappings_swapped(tmp_path: Path) -> None:
    """Compatibility D1: collections of named entries."""
    text = """
    mcp_servers: [{name: calc, command: x}]
    backends: [{name: local, base_url: "http://h/v1"}]
    assistants: {helper: {backend: local, model: m, mcp_servers: [calc]}}
    apiman:
    """
    (tenant,) = read(tmp_path, text).tenants

    assert [backend.name for backend in tenant.backends] == ["calc"]
    assert [provider.name for provider in tenant.providers] == ["local"]
    assert [assistant.name for assistant in tenant.assistants] == ["helper"]


def test_an_incomplete_apiman_section_refuses_to_load(tmp_path: Path) -> None:
    """Compatibility D14, D15."""
    assert problems_of(tmp_path, "mcp_servers: {}\napiman: {mode: gateway_probe}") == [
        "apiman.gateway_url: required in mode gateway_probe",
        "apiman.probe_api: required in mode gateway_probe",
    ]
    assert problems_of(tmp_path, "mcp_servers: {}\napiman: {mode: trusted_header, header: X-Gw}") == [
        "apiman.secret: required in mode trusted_header"
    ]


def test_no_problem_repeats_a_secret(tmp_path: Path) -> None:
    """Security A1: configuration errors reach logs."""
    text = """
    tenants:
      t:
        mcpServers:
          a: {url: "ftp://${S}", headers: {A: "${S}\\n"}, timeout: "${S}", isolation: "${S}"}
          b: {url: "ftp://${S}", headers: {A: "${S}\\n"}}
        providers: {p: {api_key: "${S}\\n", base_url: "${S}"}}
    users: [{email: a@b, password: "${S}"}]
    """
    environ = {"S": "hunter2"}
    everything = problems_of(tmp_path, text, environ)
    everything += problems_of(tmp_path, text.replace(', timeout: "${S}", isolation: "${S}"', ""), environ)

    assert len(everything) > 4
    assert "hunter2" not in "\n".join(everything)


@pytest.mark.parametrize("text", ["", "[]", "just text", "{}"])
def test_a_file_without_a_known_section_says_what_was_expected(tmp_path: Path, text: str) -> None:
    """Contract, errors."""
    assert problems_of(tmp_path, text) == ["expected tenants and users, or mcpServers"]


def test_empty_sections_are_no_mistakes(tmp_path: Path) -> None:
    """A file that is being written has sections with nothing in them yet."""
    desired = read(tmp_path, "tenants:\n  acme:\n  beta:\n    mcpServers:\nusers:\n")

    assert [tenant.slug for tenant in desired.tenants] == ["acme", "beta"]


@pytest.mark.parametrize(
    ("assistant", "problem"),
    [
        ('model: "a\\0b"', "model: expected printable characters"),
        ('model: m, options: {task_model: "a\\nb"}', "options.task_model: expected printable characters"),
        ("model: m, extra_body: {x: [.inf]}", "extra_body: expected finite numbers of at most 64 bits"),
        ("model: m, extra_body: {x: !!binary aGVsbG8=}", "extra_body: expected values that JSON has"),
        (f"model: m, extra_body: {{x: {'y' * 65_536}}}", "extra_body: expected at most 64 KiB of JSON"),
        (f"model: m, extra_body: {{x: {'[' * 33}{']' * 33}}}", "extra_body: expected at most 32 levels"),
    ],
)
def test_an_assistant_that_no_provider_could_be_asked_for_is_refused(
    tmp_path: Path, assistant: str, problem: str
) -> None:
    """What goes into JSON and the database must be able to."""
    text = f"tenants: {{acme: {{providers: {{p: {{}}}}, assistants: [{{name: a, provider: p, {assistant}}}]}}}}"
    assert problems_of(tmp_path, text) == [f"tenants.acme.assistants[0].{problem}"]


def test_an_extra_body_may_hold_variables(tmp_path: Path) -> None:
    """Texts that came out of a variable are texts."""
    text = (
        'tenants: {acme: {providers: {p: {}}, assistants: [{name: a, provider: p, model: m, extra_body: {x: "${V}"}}]}}'
    )
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    assert read_config_file(path, {"V": "é"}).tenants[0].assistants[0].extra_body == {"x": "é"}
