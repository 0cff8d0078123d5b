// Preloaded into the conformance suite, which cannot send a token: adds `Authorization: Bearer $CONFORMANCE_TOKEN` to
// every request for $CONFORMANCE_ORIGIN, whether it goes through fetch, undici or node:http. Nothing else is touched.
import http from "node:http";
import { syncBuiltinESMExports } from "node:module";
import { getGlobalDispatcher, setGlobalDispatcher } from "undici";

const origin = process.env.CONFORMANCE_ORIGIN;
const value = `Bearer ${process.env.CONFORMANCE_TOKEN}`;

function withBearer(headers) {
  if (Array.isArray(headers)) return [...headers, "authorization", value];
  const given = headers?.[Symbol.iterator] ? Object.fromEntries(headers) : { ...headers };
  return Object.keys(given).some((name) => name.toLowerCase() === "authorization") ? given : { ...given, authorization: value };
}

if (origin && process.env.CONFORMANCE_TOKEN) {
  const interceptor = (dispatch) => (options, handler) =>
    dispatch(String(options.origin) === origin ? { ...options, headers: withBearer(options.headers) } : options, handler);
  setGlobalDispatcher(getGlobalDispatcher().compose(interceptor)); // fetch of Node shares it with the package

  const own = new URL(origin);
  const original = http.request;
  http.request = (...given) => {
    const request = original(...given);
    const aim = given[0] instanceof URL || typeof given[0] === "string" ? new URL(given[0]) : given[0];
    const ours = (aim.hostname ?? aim.host) === own.hostname && String(aim.port) === own.port;
    if (ours && !request.hasHeader("authorization")) request.setHeader("authorization", value);
    return request;
  };
  syncBuiltinESMExports();
}
