/** Addresses of nodes as people write them. */
import { BlixardError } from "@blixard/common";

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
  const match = /^(?:(https?):\/\/)?(\[[0-9a-fA-F:.]+\]|[^\s:[\]/@]+):(\d{1,5})\/?$/.exec(text.trim());
  const [, scheme, host, portText] = match ?? [];
  const port = Number(portText);
  if (host === undefined || !(port >= 1 && port <= 65_535)) {
    throw new BlixardError("INVALID_ARGUMENT", `"${text}" is not an address of a node`, {
      hint: "Use HOST:PORT (the bind port), or http://HOST:PORT (the HTTP port).",
    });
  }
  return {
    host: host.replace(/^\[|\]$/g, ""),
    port,
    scheme: scheme === "http" ? "http" : scheme === "https" ? "tls" : "auto",
    text: text.trim(),
  };
}
