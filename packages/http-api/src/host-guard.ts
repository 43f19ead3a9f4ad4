/**
 * Checks Host and Origin against an allow-list, so that a web page that a browser opened elsewhere can neither rebind
 * a name of its own to this port nor call it across origins.
 */

import { BlixardError, isLoopbackHost, notApplied, parseHostPort } from "@blixard/common";

/** @throws PERMISSION_DENIED */
export function checkHostAndOrigin(
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

/** Refuses what two readers may read as requests to two hosts (RFC 9112, 3.2). @throws INVALID_ARGUMENT */
export function checkOneHost(rawHeaders: readonly string[]): void {
  // Names and values take turns.
  const hosts = rawHeaders.filter((text, at) => at % 2 === 0 && text.toLowerCase() === "host").length;
  if (hosts > 1) throw notApplied("INVALID_ARGUMENT", "a request has one Host header");
}

/** Refuses a path whose percent-encoding is not UTF-8: read leniently, it would be another name for a proper one. */
export function checkPath(url: string | undefined): void {
  try {
    decodeURIComponent((url ?? "").replace(/\?.*$/s, ""));
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
