// The official TypeScript clients, from discovery to a call after a refresh.
// Usage: node connect.mjs <sdk: v1 | v2-legacy | v2-modern> <mcp url>
// Talks to the test in lines: prints `AUTHORIZE <url>` and reads the callback URL; prints `RESULT <json>` at the end.
import { createInterface } from "node:readline";

const [generation, url] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const isFirstGeneration = generation === "v1";
const { Client } = isFirstGeneration
  ? await import("@modelcontextprotocol/sdk/client/index.js")
  : await import("@modelcontextprotocol/client");
const { StreamableHTTPClientTransport } = isFirstGeneration
  ? await import("@modelcontextprotocol/sdk/client/streamableHttp.js")
  : await import("@modelcontextprotocol/client");
const { UnauthorizedError } = isFirstGeneration
  ? await import("@modelcontextprotocol/sdk/client/auth.js")
  : await import("@modelcontextprotocol/client");

class Memory {
  saved = {};
  authorizationUrl = undefined;
  get redirectUrl() { return "http://127.0.0.1:49152/callback"; }
  get clientMetadata() {
    return {
      client_name: `TypeScript ${generation}`,
      redirect_uris: [this.redirectUrl],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
    };
  }
  state() { return "state-of-the-test"; }
  clientInformation() { return this.saved.client; }
  saveClientInformation(value) { this.saved.client = value; }
  tokens() { return this.saved.tokens; }
  saveTokens(value) { this.saved.tokens = value; }
  redirectToAuthorization(value) { this.authorizationUrl = value; }
  saveCodeVerifier(value) { this.saved.verifier = value; }
  codeVerifier() { return this.saved.verifier; }
  saveDiscoveryState(value) { this.saved.discovery = value; }
  discoveryState() { return this.saved.discovery; }
  invalidateCredentials(scope) { if (scope === "all" || scope === "tokens") delete this.saved.tokens; }
}

const provider = new Memory();
const newTransport = () => new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
const newClient = () => {
  const options = generation === "v2-modern" ? { versionNegotiation: { mode: "auto" } } : {};
  return new Client({ name: `typescript-${generation}`, version: "1.0.0" }, options);
};

async function authorize(transport) {
  console.log(`AUTHORIZE ${provider.authorizationUrl.href}`);
  const callback = new URL((await lines.next()).value);
  if (callback.searchParams.get("state") !== "state-of-the-test") throw new Error("state was not echoed");
  if (callback.searchParams.has("error")) return callback.searchParams.get("error");
  if (isFirstGeneration) await transport.finishAuth(callback.searchParams.get("code"));
  else await transport.finishAuth(callback.searchParams);
  return undefined;
}

async function connect() {
  const client = newClient();
  const transport = newTransport();
  try {
    await client.connect(transport);
    return { client };
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    const refused = await authorize(transport);
    if (refused) return { refused };
  }
  const again = newClient();
  await again.connect(newTransport());
  return { client: again };
}

const { client, refused } = await connect();
if (refused) {
  console.log(`RESULT ${JSON.stringify({ refused })}`);
  process.exit(0);
}
const names = (await client.listTools()).tools.map((tool) => tool.name);
const first = await client.callTool({ name: "demo__add", arguments: { a: 2, b: 3 } });
const before = provider.saved.tokens;
provider.saved.tokens = { ...before, access_token: "gw_at_" + "x".repeat(43) }; // an access token that died
const second = await client.callTool({ name: "demo__add", arguments: { a: 20, b: 3 } });
const after = provider.saved.tokens;
const protocol = client.getNegotiatedProtocolVersion?.() ?? null;
await client.close();
console.log(`RESULT ${JSON.stringify({
  names,
  first: first.content,
  second: second.content,
  refreshed: after.refresh_token !== before.refresh_token && after.access_token !== before.access_token,
  clientId: provider.saved.client.client_id,
  protocol,
})}`);
process.exit(0);
