/**
 * The feature level that a value needs, by the schema that describes it. A schema says what came later: a field or a
 * whole option by `.meta({ since: 4 })`, values of an enum by `.meta({ sinceValue: { cloud: 4 } })`. None of that may be
 * the default of a field: validation fills defaults in, so every value would need the level.
 */
import { BlixardError } from "@blixard/common";
import { z } from "zod";

export interface LevelReading {
  /** What came after this level counts as unknown. */
  readonly level: number;
  /**
   * What becomes of a field that the schema does not name. `drop` deletes it from the value, except in an object that is
   * strict.
   */
  readonly unknownFields: "refuse" | "drop";
}

/**
 * The highest level of what `value` uses of `schema`; 1 when it uses nothing that came later. What does not fit the schema
 * in any other way is left to its parser. @throws INVALID_ARGUMENT for what is unknown at `reading.level`
 */
export function levelOfValue(schema: z.ZodType, value: unknown, reading: LevelReading): number {
  const walk = new LevelWalk(reading);
  walk.visit(schema, value, "");
  return walk.level;
}

/** A copy of `value` without the fields that came after `level`. @throws INVALID_ARGUMENT for another part that did */
export function withoutLaterFields<Value>(schema: z.ZodType, value: Value, level: number): Value {
  const copy = structuredClone(value);
  levelOfValue(schema, copy, { level, unknownFields: "drop" });
  return copy;
}

/**
 * The highest level that anything in `schema` names.
 * @throws INVARIANT for a kind of schema that could hide a level, and for a default that needs one
 */
export function levelOfSchema(schema: z.core.$ZodType): number {
  const { since, sinceValue, parts } = factsOf(schema);
  return Math.max(since, ...sinceValue.values(), ...parts.map(levelOfSchema));
}

class LevelWalk {
  readonly #reading: LevelReading;
  level = 1;

  constructor(reading: LevelReading) {
    this.#reading = reading;
  }

  visit(schema: z.core.$ZodType, value: unknown, path: string): void {
    const facts = factsOf(schema);
    if (facts.leaf || value === undefined || value === null) return;
    this.#use(facts.since, path);
    if (typeof value === "string") this.#use(facts.sinceValue.get(value) ?? 1, path);
    const { def } = (schema as z.core.$ZodTypes)._zod;
    switch (def.type) {
      case "object":
        if (isRecord(value)) this.#visitObject(def, value, path);
        return;
      case "array":
        if (!Array.isArray(value)) return;
        for (const [at, item] of value.entries()) this.visit(def.element, item, `${path}.${at}`);
        return;
      case "record":
        if (!isRecord(value)) return;
        for (const [key, item] of Object.entries(value)) this.visit(def.valueType, item, `${path}.${key}`);
        return;
      case "union": {
        const option = facts.optionOf(value);
        if (option !== undefined) this.visit(option, value, path);
        return;
      }
      default:
        for (const part of facts.parts) this.visit(part, value, path);
    }
  }

  #visitObject(def: z.core.$ZodObjectDef, value: Record<string, unknown>, path: string): void {
    for (const key of Object.keys(value)) {
      if (value[key] === undefined) continue;
      const field = Object.hasOwn(def.shape, key) ? def.shape[key] : undefined;
      const fieldPath = path === "" ? key : `${path}.${key}`;
      if (field !== undefined && factsOf(field).fieldSince <= this.#reading.level) {
        this.visit(field, value[key], fieldPath);
      } else if (this.#reading.unknownFields === "drop" && def.catchall === undefined) {
        delete value[key];
      } else {
        throw unknownPart(fieldPath);
      }
    }
  }

  #use(since: number, path: string): void {
    if (since > this.#reading.level) throw unknownPart(path);
    this.level = Math.max(this.level, since);
  }
}

/** What a schema says of levels, worked out once. */
interface SchemaFacts {
  readonly since: number;
  readonly sinceValue: ReadonlyMap<string, number>;
  /** Of a field with this schema: the schema that names its level may stand inside `optional`, `nullable` or `default`. */
  readonly fieldSince: number;
  readonly parts: readonly z.core.$ZodType[];
  /** Nothing in it came later, and it holds no object that could have an unknown field. */
  readonly leaf: boolean;
  /** Of a union: the option that a value is one of. */
  readonly optionOf: (value: unknown) => z.core.$ZodType | undefined;
}

const known = new WeakMap<z.core.$ZodType, SchemaFacts>();

function factsOf(schema: z.core.$ZodType): SchemaFacts {
  const present = known.get(schema);
  if (present !== undefined) return present;
  const { def } = (schema as z.core.$ZodTypes)._zod;
  const meta = z.globalRegistry.get(schema) as { since?: number; sinceValue?: Record<string, number> } | undefined;
  const since = meta?.since ?? 1;
  const sinceValue = new Map(Object.entries(meta?.sinceValue ?? {}));
  const parts = partsOf(def);
  if (def.type === "default") refuseLaterDefault(def, since);
  const facts: SchemaFacts = {
    since,
    sinceValue,
    fieldSince: Math.max(since, ...("innerType" in def ? [factsOf(def.innerType).fieldSince] : [])),
    parts,
    leaf: def.type !== "object" && since === 1 && sinceValue.size === 0 && parts.every((part) => factsOf(part).leaf),
    optionOf: def.type === "union" ? optionFinder(def) : () => undefined,
  };
  known.set(schema, facts);
  return facts;
}

/** @throws INVARIANT when the value that validation fills in needs a level */
function refuseLaterDefault({ innerType, defaultValue }: z.core.$ZodDefaultDef, since: number): void {
  const walk = new LevelWalk({ level: Number.POSITIVE_INFINITY, unknownFields: "refuse" });
  walk.visit(innerType, defaultValue, "");
  const level = Math.max(since, walk.level);
  if (level === 1) return;
  const what = `a field with the default ${JSON.stringify(defaultValue)} needs level ${level}`;
  throw new BlixardError("INVARIANT", `${what}, and the default would put it into every value: use .exactOptional()`);
}

/** The schemas that one is made of. A kind that is not listed could hide a level, and is refused. */
function partsOf(def: z.core.$ZodTypes["_zod"]["def"]): readonly z.core.$ZodType[] {
  switch (def.type) {
    case "object":
      return Object.values(def.shape);
    case "array":
      return [def.element];
    case "record":
      return [def.valueType];
    case "union":
      return def.options;
    case "optional":
    case "nullable":
    case "default":
      return [def.innerType];
    case "string":
    case "number":
    case "boolean":
    case "enum":
    case "literal":
      return [];
    default:
      throw new BlixardError("INVARIANT", `a command holds a schema of the kind ${def.type}, whose level is not known`);
  }
}

function optionFinder(def: z.core.$ZodUnionDef): SchemaFacts["optionOf"] {
  const { options } = def;
  if (!("discriminator" in def)) return (value) => options.find((option) => z.safeParse(option, value).success);
  const discriminator = String(def.discriminator);
  const byValue = new Map<unknown, z.core.$ZodType>();
  for (const option of options) {
    for (const value of option._zod.propValues?.[discriminator] ?? []) byValue.set(value, option);
  }
  return (value) => (isRecord(value) ? byValue.get(value[discriminator]) : undefined);
}

function unknownPart(path: string): BlixardError {
  return new BlixardError("INVALID_ARGUMENT", `not a command: ${path}: is not known at its level`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}
