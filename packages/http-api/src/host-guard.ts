/**
 * Checks Host and Origin against an allow-list, so that a web page that a browser opened elsewhere can neither rebind
 * a name of its own to this port nor call it across origins.
 */

import type { IncomingMessage } from "node:http";
import { BlixardError, isLoopbackHost, notApplied, parseHostPort } from "@blixard/common";

/** Hosts that are remembered as allowed, so that each is looked at once. */
const rememberedMax = 64;

export class HostGuard {
  readonly #allowed: ReadonlySet<string>;
  readonly #remembered = new Set<string>();

  /** Names of loopback are always allowed. */
  constructor(allowedHosts: readonly string[]) {
    this.#allowed = new Set(allowedHosts.map((host) => host.toLowerCase()));
  }

  /** Looks at Host, Origin and the path. @throws PERMISSION_DENIED, INVALID_ARGUMENT */
  check({ rawHeaders, headers, url }: Pick<IncomingMessage, "rawHeaders" | "headers" | "url">): void {
    checkOneHost(rawHeaders);
    const { host, origin } = headers;
    if (origin !== undefined || host === undefined || !this.#remembered.has(host)) {
      checkHostAndOrigin(this.#allowed, host, origin);
      if (host !== undefined && this.#remembered.size < rememberedMax) this.#remembered.add(host);
    }
    checkPath(url);
  }
}

/** @throws PERMISSION_DENIED */
function checkHostAndOrigin(
  allowedHosts: ReadonlySet<string>,
  host: string | undefined,
  origin: string | undefined,
): void {
  const name = hostName(host ?? "");
  if (name === undefined || !isAllowed(allowedHosts, name)) {
    throw new BlixardError("PERMISSION_DENIED", `this node does not answer to the host "${host ?? ""}"`, {
      hint: "Use an address that the node is bound to, or list the name in `allowedHosts` of its configuration.",
    });
  }
  if (origin === undefined) return;
  const originName = /^https?:\/\/(.+)$/.exec(origin)?.[1];
  const from = originName === undefined ? undefined : hostName(originName);
  if (from === undefined || !isAllowed(allowedHosts, from)) {
    throw new BlixardError("PERMISSION_DENIED", `pages of "${origin}" may not use this node`, {
      hint: "Open the page that the node itself serves.",
    });
  }
}

const hostHeader = "host";

/** Refuses what two readers may read as requests to two hosts (RFC 9112, 3.2). @throws INVALID_ARGUMENT */
function checkOneHost(rawHeaders: readonly string[]): void {
  let hosts = 0;
  // Names and values take turns.
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (name.length === hostHeader.length && name.toLowerCase() === hostHeader) hosts++;
  }
  if (hosts > 1) throw notApplied("INVALID_ARGUMENT", "a request has one Host header");
}

/** Refuses a path whose percent-encoding is not UTF-8: read leniently, it would be another name for a proper one. */
function checkPath(url: string | undefined): void {
  if (url === undefined || !url.includes("%")) return;
  try {
    decodeURIComponent(url.replace(/\?.*$/s, ""));
  } catch (error) {
    throw notApplied("INVALID_ARGUMENT", "the path is not percent-encoded UTF-8", {
      cause: error,
      hint: "Encode each part of the path as encodeURIComponent does.",
    });
  }
}

function isAllowed(allowedHosts: ReadonlySet<string>, name: string): boolean {
  return isLoopbackHost(name) || allowedHosts.has(name);
}

/** The name of `name`, `name:port`, `[v6]` or `[v6]:port`, in lower case and without brackets. */
function hostName(text: string): string | undefined {
  return (parseHostPort(text) ?? parseHostPort(`${text}:80`))?.host.toLowerCase();
}
