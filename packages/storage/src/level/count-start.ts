/** How often a store was opened: a number that grows durably with every start, so that older copies are found out. */
import { pack, unpack } from "../records/packed.ts";
import { openRecord, sealRecord } from "../records/record.ts";
import { startsKey } from "./keys.ts";
import type { LevelHandle } from "./level-handle.ts";

/** Counts this start. Resolves with its number, from 1, when that is durable. @throws STORAGE_CORRUPT, STORAGE_FAILED */
export async function countStart(log: LevelHandle): Promise<number> {
  const before = await startsOf(log);
  const payload = sealRecord(startsKey, pack(before + 1));
  await log.write([{ type: "put", key: startsKey, value: payload }], { sync: true });
  return before + 1;
}

/** How often the store was opened before. @throws STORAGE_CORRUPT */
export async function startsOf(log: LevelHandle): Promise<number> {
  const value = await log.get(startsKey);
  return value === undefined ? 0 : unpack<number>(openRecord(startsKey, value), "the number of starts");
}
