/** The address that opens the page of a node of this machine once, logged in. */
import {
  BlixardError,
  type ErrorCode,
  errorCodes,
  formatHostPort,
  isLoopbackHost,
  requireHostPort,
} from "@blixard/common";
import { nodeRoutes, type PageLogin } from "@blixard/protocol";

interface Refusal {
  readonly error?: { readonly code?: string; readonly message?: string; readonly hint?: string | null };
}

/**
 * `http` is where the node serves plain HTTP. The secret stands behind the `#`, which no browser sends anywhere.
 * @throws BlixardError
 */
export async function pageAddress(http: string, token: string, signal: AbortSignal): Promise<string> {
  const { verb, path } = nodeRoutes.pageLogin;
  const origin = fromHere(http);
  const answer = await fetch(`${origin}${path}`, {
    ...{ method: verb, headers: { authorization: `Bearer ${token}` }, signal },
  }).catch((cause: unknown) => {
    throw new BlixardError("UNREACHABLE", `nobody answers at ${origin}`, { cause });
  });
  const body = (await answer.json().catch(() => ({}))) as PageLogin & Refusal;
  if (answer.ok) return `${origin}/#login=${body.secret}`;
  const { code = "", message = `${origin} gives no login`, hint } = body.error ?? {};
  const known = Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : "UNAVAILABLE";
  throw new BlixardError(known, message, hint ? { hint } : {});
}

/** A node that serves on every address of its machine is asked over loopback, as it wants for this. */
function fromHere(http: string): string {
  const { host, port } = requireHostPort(new URL(http).host, "--http");
  const all: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
  return isLoopbackHost(host) ? http : `http://${formatHostPort(all[host] ?? host, port)}`;
}
