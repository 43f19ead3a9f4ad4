import { readFileSync } from "node:fs";

/** What the first line of a program asks of Node.js, which a shell would read. */
export function programFlags(path: string): string[] {
  const [line = ""] = readFileSync(path, "utf8").split("\n", 1);
  return /^#!.*\bnode\s+(-.*)$/.exec(line)?.[1]?.trim().split(/\s+/) ?? [];
}
