/**
 * A bounded number of places for connections, shared fairly by where they come from. A newcomer always finds one: when all
 * are taken, the address that holds most of them loses the one that has been silent for longest. So a stranger who opens
 * many connections competes with himself, and where everybody comes from one address, with those who say nothing.
 */
import { isIPv4, isIPv6 } from "node:net";

export interface SharedPlacesOptions<Holder> {
  readonly placesMax: number;
  /** Ends a holder that has lost its place. It must not take or give up places itself before it returns. */
  readonly evict: (holder: Holder, share: string) => void;
  /** Whether holders that are busy keep their places. Then a newcomer may find none. Default: only silent ones are preferred. */
  readonly spareBusy?: boolean;
}

interface Place {
  /** Grows with each sign of life, over all places. */
  heardAt: number;
  busy: boolean;
}

interface Candidate<Holder> {
  readonly share: string;
  readonly holder: Holder;
  /** Places of the share, that of the newcomer included. */
  readonly size: number;
  readonly heardAt: number;
}

export class SharedPlaces<Holder> {
  readonly #options: SharedPlacesOptions<Holder>;
  /** By share; in each the holder that has been silent for longest comes first. */
  readonly #shares = new Map<string, Map<Holder, Place>>();
  readonly #shareOf = new Map<Holder, string>();
  #heard = 0;

  constructor(options: SharedPlacesOptions<Holder>) {
    this.#options = options;
  }

  get size(): number {
    return this.#shareOf.size;
  }

  get isFull(): boolean {
    return this.#shareOf.size >= this.#options.placesMax;
  }

  holders(): Iterable<Holder> {
    return this.#shareOf.keys();
  }

  has(holder: Holder): boolean {
    return this.#shareOf.has(holder);
  }

  /** Gives a place to a newcomer, for which another may lose its own. False when all places are spared. */
  take(holder: Holder, share: string): boolean {
    if (this.has(holder)) return true;
    if (this.isFull && !this.#makeRoom(share)) return false;
    const places = this.#shares.get(share) ?? new Map<Holder, Place>();
    this.#shares.set(share, places);
    places.set(holder, { heardAt: ++this.#heard, busy: false });
    this.#shareOf.set(holder, share);
    return true;
  }

  /** Notes a sign of life. Whoever has no place is ignored. */
  heard(holder: Holder, busy = false): void {
    const places = this.#shares.get(this.#shareOf.get(holder) ?? "");
    const place = places?.get(holder);
    if (places === undefined || place === undefined) return;
    place.heardAt = ++this.#heard;
    place.busy = busy;
    // It comes last from now on.
    places.delete(holder);
    places.set(holder, place);
  }

  /** Frees the place. False when there was none. */
  leave(holder: Holder): boolean {
    const share = this.#shareOf.get(holder);
    if (share === undefined) return false;
    this.#shareOf.delete(holder);
    const places = this.#shares.get(share);
    places?.delete(holder);
    if (places?.size === 0) this.#shares.delete(share);
    return true;
  }

  #makeRoom(newcomer: string): boolean {
    let best: Candidate<Holder> | undefined;
    for (const [share, places] of this.#shares) {
      const size = places.size + (share === newcomer ? 1 : 0);
      if (best !== undefined && size < best.size) continue;
      const oldest = this.#oldestOf(places);
      if (oldest === undefined) continue;
      const [holder, { heardAt }] = oldest;
      if (best === undefined || size > best.size || heardAt < best.heardAt) best = { share, holder, size, heardAt };
    }
    if (best === undefined) return false;
    this.leave(best.holder);
    this.#options.evict(best.holder, best.share);
    return true;
  }

  #oldestOf(places: ReadonlyMap<Holder, Place>): readonly [Holder, Place] | undefined {
    let first: readonly [Holder, Place] | undefined;
    for (const entry of places) {
      if (!entry[1].busy) return entry;
      first ??= entry;
    }
    return this.#options.spareBusy === true ? undefined : first;
  }
}

/**
 * What counts as one address: an IPv4 address, or the 64 bits of an IPv6 address that name a network, because whoever has
 * one address of it has all. Other texts stand for themselves.
 */
export function shareOfAddress(address: string | undefined): string {
  if (address === undefined) return "unknown";
  const mapped = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [bare = ""] = address.split("%");
  if (isIPv4(bare) || !isIPv6(bare)) return bare;
  const [head = "", tail] = bare.toLowerCase().split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  // An IPv4 address at the end stands for two groups.
  const groupsAfter = after.length + (after.some((group) => group.includes(".")) ? 1 : 0);
  const zeros = tail === undefined ? 0 : 8 - before.length - groupsAfter;
  const groups = [...before, ...Array.from({ length: zeros }, () => "0"), ...after].slice(0, 4);
  return `${groups.map((group) => group.replace(/^0+(?=.)/, "")).join(":")}::/64`;
}
