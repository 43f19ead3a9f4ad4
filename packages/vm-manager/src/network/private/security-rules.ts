/** What the rules of security groups allow, as pure functions of a packet and of who the other side is. */
import { type Ipv4Range, isInRange, parseIpv4Range } from "@blixard/common";
import { isAddressPeer, portRangeOf, type SecurityRule } from "@blixard/protocol";
import { protocols } from "../packet.ts";

/** A rule as it is looked at for each frame. */
interface ReadRule {
  /** Of IP. Undefined: any. */
  readonly protocol: number | undefined;
  readonly ports: readonly { readonly first: number; readonly last: number }[] | undefined;
  readonly range: Ipv4Range | undefined;
  readonly peer: string | undefined;
}

export interface CardRules {
  readonly in: readonly ReadRule[];
  readonly out: readonly ReadRule[];
}

export type Direction = keyof CardRules;

/** What a packet begins, or would begin. */
export interface Beginning {
  /** Of IP. */
  readonly protocol: number;
  /** Of the side that is connected to. Undefined where it is not known, as in a fragment: only rules for all ports allow that. */
  readonly port: number | undefined;
}

/** The other side, as the state knows it. */
export interface RulePeer {
  readonly address: number;
  readonly peers?: readonly string[];
}

const numbers = { ...protocols, any: undefined } as const;

/** The rules of all groups of a card together. A group that is not known allows nothing. */
export function cardRulesOf(
  names: readonly string[] = [],
  groups: readonly ({ readonly name: string } & Readonly<Record<Direction, readonly SecurityRule[]>>)[] = [],
): CardRules {
  const own = groups.filter(({ name }) => names.includes(name));
  return { in: own.flatMap((group) => group.in.map(readRule)), out: own.flatMap((group) => group.out.map(readRule)) };
}

function readRule({ protocol, ports, peer }: SecurityRule): ReadRule {
  const isAddress = peer !== undefined && isAddressPeer(peer);
  return {
    protocol: numbers[protocol],
    ports: ports?.map(portRangeOf),
    range: isAddress ? parseIpv4Range(peer) : undefined,
    peer: isAddress ? undefined : peer,
  };
}

/** Whether one of the rules allows what begins, with this other side. */
export function allows(rules: readonly ReadRule[], { protocol, port }: Beginning, other: RulePeer): boolean {
  return rules.some(
    (rule) =>
      (rule.protocol === undefined || rule.protocol === protocol) &&
      (rule.ports === undefined ||
        (port !== undefined && rule.ports.some(({ first, last }) => port >= first && port <= last))) &&
      (rule.range === undefined || isInRange(other.address, rule.range)) &&
      (rule.peer === undefined || other.peers?.includes(rule.peer) === true),
  );
}
