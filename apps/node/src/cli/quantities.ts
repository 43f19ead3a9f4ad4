/** Sizes and times as people write them. */
import { BlixardError } from "@blixard/common";

const mebibyteUnits: Readonly<Record<string, number>> = { M: 1, G: 1024, T: 1024 * 1024 };

/** `256`, `256M`, `256MiB`, `1G` or `1.5G` as MiB. @throws INVALID_ARGUMENT */
export function parseMemoryMiB(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(?:([MGT])(?:i?B)?)?$/i.exec(text.trim());
  const memoryMiB = Number(match?.[1]) * (mebibyteUnits[match?.[2]?.toUpperCase() ?? "M"] ?? 1);
  if (match === null || !Number.isInteger(memoryMiB)) {
    throw new BlixardError("INVALID_ARGUMENT", `"${text}" is not a size of memory`, {
      hint: "Use MiB or a unit: 256, 256M, 1G, 1.5G.",
    });
  }
  return memoryMiB;
}

const millisecondUnits: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const dayMs = 86_400_000;

/** How long something is good for, in whole seconds: up to ten years. @throws INVALID_ARGUMENT */
export function secondsOf(text: string): number {
  return Math.ceil(parseDurationMs(text, { daysMax: 3_650 }) / 1_000);
}

/** `30` (seconds), `500ms`, `30s`, `10m`, `2h` or `1d` as milliseconds, from `minMs` on. @throws INVALID_ARGUMENT */
export function parseDurationMs(text: string, { daysMax = 30, minMs = 1 } = {}): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text.trim());
  const durationMs = Math.round(Number(match?.[1]) * (millisecondUnits[match?.[2] ?? "s"] ?? 1));
  if (match === null || durationMs < minMs || durationMs > daysMax * dayMs) {
    throw new BlixardError("INVALID_ARGUMENT", `"${text}" is not a length of time`, {
      hint: `Use seconds or a unit, up to ${daysMax} days: 30, 500ms, 30s, 10m, 2h, 7d.`,
    });
  }
  return durationMs;
}

/** A number of at least `min`. @throws INVALID_ARGUMENT that names `what` */
export function parseInteger(text: string, what: string, min = 0): number {
  const value = Number(text);
  if (!/^\d{1,15}$/.test(text) || value < min) {
    throw new BlixardError("INVALID_ARGUMENT", `${what} must be a whole number of at least ${min}, not "${text}"`);
  }
  return value;
}

/** Milliseconds in the largest unit that leaves at least 2 of it: `90s`, `12m`, `5h`, `3d`. */
export function formatAge(ageMs: number): string {
  const seconds = Math.max(0, Math.round(ageMs / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

export function formatMemory(memoryMiB: number): string {
  return memoryMiB >= 1024 && memoryMiB % 512 === 0 ? `${memoryMiB / 1024} GiB` : `${memoryMiB} MiB`;
}
