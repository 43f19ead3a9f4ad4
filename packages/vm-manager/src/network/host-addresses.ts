/**
 * The addresses by which this machine reaches itself, as its kernel routes them: also those of an interface that is down, and of
 * whole ranges that are routed to the machine. What they are is asked again after a second.
 */
import { readFileSync } from "node:fs";
import { type Ipv4Range, ipv4RangeOf, isInRange, parseIpv4 } from "@blixard/common";

const refreshMs = 1_000;

export class HostAddresses {
  readonly #path: string;
  readonly #nowMs: () => number;
  #ranges: readonly Ipv4Range[] | undefined;
  #readMs = Number.NEGATIVE_INFINITY;

  constructor(nowMs: () => number, path = "/proc/net/fib_trie") {
    this.#path = path;
    this.#nowMs = nowMs;
  }

  /** False when the kernel does not say which addresses are its own. */
  get areKnown(): boolean {
    this.#refresh();
    return this.#ranges !== undefined;
  }

  /** True for every address while they are not known. */
  has(address: number): boolean {
    this.#refresh();
    return this.#ranges?.some((range) => isInRange(address, range)) ?? true;
  }

  #refresh(): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#readMs < refreshMs) return;
    this.#readMs = nowMs;
    this.#ranges = this.#read();
  }

  #read(): readonly Ipv4Range[] | undefined {
    try {
      const ranges = parseLocalRanges(readFileSync(this.#path, "utf8"));
      // A kernel that routes nothing to itself, not even 127.0.0.1, does not say what it does.
      return ranges.length === 0 ? undefined : ranges;
    } catch {
      return undefined;
    }
  }
}

/** Each leaf is an address on a line of its own (`|-- 10.0.0.1`), followed by one line for each route (`/32 host LOCAL`). */
export function parseLocalRanges(text: string): readonly Ipv4Range[] {
  const found = new Map<string, Ipv4Range>();
  let leaf = "";
  for (const line of text.split("\n")) {
    const address = /\|-- (\d+\.\d+\.\d+\.\d+)/.exec(line)?.[1];
    if (address !== undefined) leaf = address;
    const length = /\/(\d+) \w+ (?:LOCAL|BROADCAST|ANYCAST)/.exec(line)?.[1];
    if (length !== undefined) found.set(`${leaf}/${length}`, ipv4RangeOf(parseIpv4(leaf), Number(length)));
  }
  return [...found.values()];
}
