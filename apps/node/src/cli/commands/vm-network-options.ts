/** The options of `vm create` for the networks of a VM and its forwarded ports: each may be given several times. */
import { BlixardError } from "@blixard/common";
import type { VmForward, VmNetwork } from "@blixard/protocol";
import { parseInteger } from "../quantities.ts";

/** `user,address=10.0.2.20,mac=02:00:00:00:00:01,egress=RANGE+RANGE`, `lan,groups=web+db`, or `none` alone. Whether they fit is up to the node. */
export function parseNetworks(given: readonly string[]): VmNetwork[] {
  if (given.length === 1 && given[0] === "none") return [];
  return given.map((text) => {
    const [network = "", ...parts] = text.split(",");
    const known = new Map(parts.map((part) => splitAt(part, "=")));
    const { address, mac, egress, groups, ...unknown } = Object.fromEntries(known) as Record<
      string,
      string | undefined
    >;
    const other = Object.keys(unknown)[0];
    if (other !== undefined)
      throw wrong("--network", text, `${other} is unknown; known are address, mac, egress and groups`);
    return {
      ...{ network, ...(address === undefined ? {} : { address }), ...(mac === undefined ? {} : { mac }) },
      ...(egress === undefined ? {} : { egress: egress === "none" ? [] : egress.split("+") }),
      ...(groups === undefined ? {} : { securityGroups: groups.split("+") }),
    };
  });
}

/** `8080:80`, `all:8080:80`, `192.0.2.7:8080:80`, each with `/udp` behind it and `,from=RANGE+RANGE` for who may connect. */
export function parseForwards(given: readonly string[]): VmForward[] {
  return given.map((text) => {
    const [first = "", ...more] = text.split(",");
    const [places, protocol] = splitAt(first, "/");
    if (protocol !== "" && protocol !== "tcp" && protocol !== "udp") {
      throw wrong("--forward", text, "the protocol is tcp or udp");
    }
    const parts = places.split(":");
    const [port = "", to = ""] = parts.slice(-2);
    if (parts.length < 2 || parts.length > 3)
      throw wrong("--forward", text, "use [ADDRESS:]PORT:PORT-OF-THE-GUEST[/udp]");
    const from = more.map((part) => splitAt(part, "="));
    if (from.length > 1 || from.some(([name]) => name !== "from"))
      throw wrong("--forward", text, "known is from alone");
    const sources = from[0]?.[1].split("+");
    return {
      port: parseInteger(port, "--forward", 1),
      to: parseInteger(to, "--forward", 1),
      ...(parts.length === 3 && parts[0] !== undefined ? { listen: parts[0] } : {}),
      ...(sources === undefined ? {} : { sources }),
      ...(protocol === "" ? {} : { protocol }),
    };
  });
}

/** For people: as it is given on the command line. */
export function forwardText({ port, to, listen, sources, protocol }: VmForward): string {
  const from = sources === undefined ? "" : `,from=${sources.join("+")}`;
  return `${listen === undefined ? "" : `${listen}:`}${port}:${to}${protocol === "udp" ? "/udp" : ""}${from}`;
}

function splitAt(text: string, separator: string): readonly [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)];
}

function wrong(option: string, text: string, why: string): BlixardError {
  return new BlixardError("INVALID_ARGUMENT", `${option} ${text}: ${why}`);
}
