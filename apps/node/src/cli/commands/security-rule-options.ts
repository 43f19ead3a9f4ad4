/** Rules of security groups as they are given on the command line, and shown. */
import { BlixardError } from "@blixard/common";
import type { SecurityRule } from "@blixard/protocol";

export type Direction = "in" | "out";

const words = { in: "from", out: "to" } as const;

/** `tcp:80+443,from=label:app=web`, `udp:53`, `any`; outwards `to=` instead of `from=`; or `none` alone. Whether they are valid is up to the node. */
export function parseRules(given: readonly string[], direction: Direction): SecurityRule[] {
  if (given.length === 1 && given[0] === "none") return [];
  return given.map((text) => {
    const [what = "", ...more] = text.split(",");
    const [protocol = "", ports] = what.split(":");
    const word = `${words[direction]}=`;
    const [peer, ...rest] = more;
    if (rest.length > 0 || peer?.startsWith(word) === false) {
      const use = `use PROTOCOL[:PORT+PORT][,${word}RANGE|group:NAME|label:KEY=VALUE]`;
      throw new BlixardError("INVALID_ARGUMENT", `--${direction} ${text}: ${use}`);
    }
    return {
      protocol: protocol as SecurityRule["protocol"],
      ...(ports === undefined ? {} : { ports: ports.split("+") }),
      ...(peer === undefined ? {} : { peer: peer.slice(word.length) }),
    };
  });
}

/** For people: as they are given. */
export function rulesText(rules: readonly SecurityRule[], direction: Direction): string {
  const texts = rules.map(({ protocol, ports, peer }) => {
    const where = ports === undefined ? "" : `:${ports.join("+")}`;
    return `${protocol}${where}${peer === undefined ? "" : `,${words[direction]}=${peer}`}`;
  });
  return texts.join(" ") || "none";
}
