// Prints every command, field and value that a release writes into its log, as a sorted JSON list: what a later release
// adds has to say the feature level that knows it. Usage: node tools/release-fixtures/contract-parts.mjs --checkout DIR
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { checkout: { type: "string", default: "." } } });
const protocol = await import(pathToFileURL(resolve(values.checkout, "packages/protocol/dist/index.js")).href);
const parts = new Set();

function walk(schema, path) {
  const { def } = schema._zod;
  switch (def.type) {
    case "object":
      for (const [key, field] of Object.entries(def.shape)) {
        parts.add(`${path}.${key}`);
        walk(field, `${path}.${key}`);
      }
      return;
    case "array":
      return walk(def.element, `${path}[]`);
    case "record":
      return walk(def.valueType, `${path}[]`);
    case "union":
      for (const option of def.options) walk(option, path);
      return;
    case "optional":
    case "nullable":
    case "default":
      return walk(def.innerType, path);
    case "enum":
      for (const value of Object.values(def.entries)) parts.add(`${path}=${value}`);
      return;
    case "literal":
      for (const value of def.values) parts.add(`${path}=${value}`);
  }
}

// Releases before the contract by noun have one union of all bodies, whose field `type` names the command.
const bodies =
  protocol.commands === undefined
    ? protocol.commandBodySchema._zod.def.options.map(({ _zod }) => {
        const { type, ...shape } = _zod.def.shape;
        return [type._zod.def.values[0], { _zod: { def: { type: "object", shape } } }];
      })
    : Object.entries(protocol.commands).map(([type, { body }]) => [type, body]);
for (const [type, body] of bodies) {
  parts.add(type);
  walk(body, type);
}
console.log(JSON.stringify([...parts].sort(), null, 1));
