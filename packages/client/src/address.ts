/** Addresses of nodes as people write them. */
import { BlixardError, parseHostPort } from "@blixard/common";

export interface NodeAddress {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  /** `auto`: TLS with the node's own certificate, or plain HTTP when a loopback port turns out to speak that. */
  readonly scheme: "tls" | "http" | "auto";
  /** The text it was made from, for messages. */
  readonly text: string;
}

/**
 * Reads `host:port`, `[v6]:port`, `http://host:port` or `https://host:port`.
 * @throws INVALID_ARGUMENT
 */
export function parseNodeAddress(text: string): NodeAddress {
  const [, scheme, hostPort = ""] = /^(?:(https?):\/\/)?([^/]*)\/?$/.exec(text.trim()) ?? [];
  const parsed = parseHostPort(hostPort);
  if (parsed === undefined || parsed.port === 0) {
    throw new BlixardError("INVALID_ARGUMENT", `"${text}" is not an address of a node`, {
      hint: "Use HOST:PORT (the bind port), or http://HOST:PORT (the HTTP port).",
    });
  }
  return {
    ...parsed,
    scheme: scheme === "http" ? "http" : scheme === "https" ? "tls" : "auto",
    text: text.trim(),
  };
}
