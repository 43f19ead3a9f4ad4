/** Rules of security groups as they are given on the command line, and shown. */
import { BlixardError } from "@blixard/common";
import { type SecurityRule, securityRuleSchema } from "@blixard/protocol";

export type Direction = "in" | "out";

const words = { in: "from", out: "to" } as const;

/**
 * `tcp:80+443,from=label:app=web`, `udp:53`, `any`; outwards `to=` instead of `from=`; or `none` alone.
 * @throws INVALID_ARGUMENT, which names the option as it was given
 */
export function parseRules(given: readonly string[], direction: Direction): SecurityRule[] {
  if (given.length === 1 && given[0] === "none") return [];
  return given.map((text) => {
    const refuse = (why: string) => new BlixardError("INVALID_ARGUMENT", `--${direction} ${text}: ${why}`);
    if (text === "none") throw refuse("stands alone, without other rules");
    const [what = "", ...more] = text.split(",");
    const [protocol = "", ports] = what.split(":");
    const word = `${words[direction]}=`;
    const [peer, ...rest] = more;
    if (rest.length > 0 || peer?.startsWith(word) === false) {
      throw refuse(`use PROTOCOL[:PORT+PORT][,${word}RANGE|group:NAME|label:KEY=VALUE]`);
    }
    const rule = {
      protocol,
      ...(ports === undefined ? {} : { ports: ports.split("+") }),
      ...(peer === undefined ? {} : { peer: peer.slice(word.length) }),
    };
    const checked = securityRuleSchema.safeParse(rule);
    if (checked.success) return checked.data;
    throw refuse(checked.error.issues.map(({ path: [field], message }) => `${String(field)} ${message}`).join("; "));
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
