/**
 * What release 056bb98 wrote into its log (`tools/release-fixtures`), against what this one may write: all that is new has
 * to name the level that knows it. Otherwise the leader proposes it to members that stop at it.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { z } from "zod";
import { commands } from "../api/contract.ts";
import { featureLevels } from "../api/feature-level.ts";

const former = new Set<string>(
  JSON.parse(
    readFileSync(new URL("../../../../tools/release-fixtures/056bb98/contract.json", import.meta.url), "utf8"),
  ) as string[],
);

/** The path of each field and value, with the level that its schema, or one around it, names. */
function partsOf(schema: z.core.$ZodType, path: string, around: number, parts: Map<string, number>): void {
  const meta = z.globalRegistry.get(schema) as { since?: number; sinceValue?: Record<string, number> } | undefined;
  const level = Math.max(around, meta?.since ?? 1);
  const add = (part: string, needed: number) => parts.set(part, Math.max(needed, parts.get(part) ?? 1));
  const { def } = (schema as z.core.$ZodTypes)._zod;
  switch (def.type) {
    case "object":
      for (const [key, field] of Object.entries(def.shape)) {
        add(`${path}.${key}`, Math.max(level, sinceOf(field)));
        partsOf(field, `${path}.${key}`, level, parts);
      }
      break;
    case "array":
      partsOf(def.element, `${path}[]`, level, parts);
      break;
    case "record":
      partsOf(def.valueType, `${path}[]`, level, parts);
      break;
    case "union":
      for (const option of def.options) partsOf(option, path, level, parts);
      break;
    case "optional":
    case "nullable":
    case "default":
      partsOf(def.innerType, path, level, parts);
      break;
    case "enum":
      for (const value of Object.values(def.entries)) {
        add(`${path}=${value}`, Math.max(level, meta?.sinceValue?.[value] ?? 1));
      }
      break;
    case "literal":
      for (const value of def.values) add(`${path}=${String(value)}`, level);
      break;
    default:
  }
}

/** The level may be named inside of `optional`, `nullable` or `default`. */
function sinceOf(schema: z.core.$ZodType): number {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  const own = (z.globalRegistry.get(schema) as { since?: number } | undefined)?.since ?? 1;
  return "innerType" in def ? Math.max(own, sinceOf(def.innerType)) : own;
}

const parts = new Map<string, number>();
for (const [type, { since, body }] of Object.entries(commands)) {
  parts.set(type, since);
  partsOf(body, type, since, parts);
}

describe("commands, their fields and values", () => {
  it("that release 056bb98 does not know name a later level than its", () => {
    const later = [...parts].filter(([part]) => !former.has(part));
    expect(later.length).toBeGreaterThan(0);
    expect(later.filter(([, level]) => level <= featureLevels.base)).toEqual([]);
  });

  it("that release 056bb98 knows are there still, at a level that it understands", () => {
    expect([...former].filter((part) => (parts.get(part) ?? Number.POSITIVE_INFINITY) > featureLevels.base)).toEqual(
      [],
    );
  });
});
