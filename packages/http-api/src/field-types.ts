/** Fields of a request that travel as text, in a path or a query, get the type that the schema of the request gives them. */
import { z } from "zod";

/** The JSON type of each field. */
export type FieldTypes = ReadonlyMap<string, string>;

export function fieldTypesOf(request: z.ZodType): FieldTypes {
  const { properties = {} } = z.toJSONSchema(request, { io: "input", unrepresentable: "any" });
  return new Map(
    Object.entries(properties).flatMap(([field, schema]) =>
      typeof schema === "object" && typeof schema.type === "string" ? [[field, schema.type]] : [],
    ),
  );
}

/** Text that does not fit is left for the schema to refuse. */
export function typedField(types: FieldTypes, field: string, text: string): unknown {
  const type = types.get(field);
  if (type === "integer" && /^-?\d{1,16}$/.test(text)) return Number(text);
  if (type === "array") return text === "" ? [] : text.split(",");
  if (type === "boolean" && (text === "true" || text === "false")) return text === "true";
  return text;
}

/** Parameters of the query that are fields of the request; those in `others` say something else. */
export function queryFields(
  types: FieldTypes,
  query: Readonly<Record<string, string>>,
  others: readonly string[] = ["consistency"],
): Record<string, unknown> {
  // A name that every object has is no field of a request either.
  const fields: Record<string, unknown> = Object.create(null);
  for (const field of Object.keys(query)) {
    if (!others.includes(field)) fields[field] = typedField(types, field, query[field] ?? "");
  }
  return fields;
}
