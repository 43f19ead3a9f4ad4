// Lets a child process of a test run from the TypeScript sources.
import { register } from "node:module";

const swc = import.meta.resolve("@swc/core");
const loader = `
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import swc from ${JSON.stringify(swc)};
const options = { jsc: { target: "es2022", parser: { syntax: "typescript" } }, module: { type: "es6" } };
export async function load(url, context, next) {
  if (!url.endsWith(".ts")) return next(url, context);
  const { code } = swc.transformSync(readFileSync(fileURLToPath(url), "utf8"), options);
  return { format: "module", shortCircuit: true, source: code };
}`;
register(`data:text/javascript,${encodeURIComponent(loader)}`);
