/** Sources of randomness, all from one seed. Each component has its own: what one draws never shifts another. */
import { type Random, seededRandom } from "@blixard/common";

/** A source that depends on the seed and the name only. */
export function randomOf(seed: number, component: string): Random {
  let hash = 0x811c9dc5;
  for (let at = 0; at < component.length; at++) hash = Math.imul(hash ^ component.charCodeAt(at), 0x01000193);
  const mixed = Math.imul(hash ^ Math.imul(seed | 0, 0x9e3779b1), 0x85ebca6b) >>> 0;
  return seededRandom(mixed + (Math.floor(seed) % 0x10_0000) * 0x1_0000_0000);
}

/** An integer from `min` up to and including `max`. */
export function integer(random: Random, min: number, max: number): number {
  return min + Math.floor(random.next() * (max - min + 1));
}

/** A number from `min` to below `max`. */
export function between(random: Random, min: number, max: number): number {
  return min + random.next() * (max - min);
}

export function chance(random: Random, share: number): boolean {
  return random.next() < share;
}

/** @throws when `items` is empty */
export function pick<T>(random: Random, items: readonly T[]): T {
  const item = items[Math.floor(random.next() * items.length)];
  if (item === undefined) throw new RangeError("there is nothing to pick from");
  return item;
}

/** An index of `weights`, each as likely as its weight. */
export function weighted(random: Random, weights: readonly number[]): number {
  let left = random.next() * weights.reduce((sum, weight) => sum + weight, 0);
  for (const [at, weight] of weights.entries()) {
    left -= weight;
    if (left < 0) return at;
  }
  return weights.length - 1;
}
