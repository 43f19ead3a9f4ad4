import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The built binary, which these tests drive from outside. `npm test` builds it first. */
export function builtBinary(): string {
  const path = fileURLToPath(new URL("../../dist/bundle/main.js", import.meta.url));
  if (!existsSync(path)) throw new Error("the binary is not built: run `npm run build` first");
  return path;
}
