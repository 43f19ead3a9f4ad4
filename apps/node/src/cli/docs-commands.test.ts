import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "@jest/globals";
import type { Command } from "commander";
import { buildProgram } from "./program.ts";

const root = fileURLToPath(new URL("../../../../", import.meta.url));
const stream = () => new PassThrough();
const context = {
  ...{ stdout: stream(), stderr: stream(), stdin: stream(), env: {}, exitCode: 0 },
  signal: new AbortController().signal,
};

/** Command lines in code: `blixard ...` between backticks, and lines of code blocks that begin with it. */
function commandLinesIn(text: string): string[] {
  const inline = [...text.matchAll(/`(?:\$ )?blixard ([^`]+)`/g)];
  const blocks = [...text.matchAll(/^(?: {4}|\$ )?(?:npx )?blixard ([a-z-].*)$/gm)];
  return [...inline, ...blocks].map(([, line = ""]) => line.replace(/\s+/g, " ").replace(/ #.*$/, "").trim());
}

/** Undefined when the program knows the command and each of its flags; else what it does not know. */
function problemOf(line: string, program: Command): string | undefined {
  let command = program;
  // What stands behind a pipe or `--` is not ours.
  for (const word of line.split(/ \| | -- /)[0]?.split(" ") ?? []) {
    const flag = /^\[?(-{1,2}[a-zA-Z][\w-]*)/.exec(word)?.[1];
    const found = command.commands.find((sub) => sub.name() === word || sub.aliases().includes(word));
    if (flag !== undefined) {
      const known = command.options.some(({ short, long }) => flag === short || flag === long);
      if (!known && !["--help", "--version", "-h"].includes(flag)) return `${command.name()} has no ${flag}`;
    } else if (found !== undefined) command = found;
    else if (command === program || (command.commands.length > 0 && command.registeredArguments.length === 0)) {
      if (!word.startsWith("<") && word !== "...") return `${command.name()} has no command ${word}`;
    }
  }
  return undefined;
}

describe("the documentation", () => {
  it("shows only command lines that the program knows", async () => {
    const program = await buildProgram(["completion"], context);
    const docs = (await readdir(join(root, "docs"), { recursive: true })).map((name) => join("docs", name));
    const files = [
      "README.md",
      "apps/node/README.md",
      "tools/grafana/README.md",
      ...docs.filter((name) => name.endsWith(".md")),
    ];
    const wrong: string[] = [];
    let lines = 0;
    for (const file of files) {
      for (const line of commandLinesIn(await readFile(join(root, file), "utf8"))) {
        lines++;
        const problem = problemOf(line, program);
        if (problem !== undefined) wrong.push(`${file}: blixard ${line}: ${problem}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(lines).toBeGreaterThan(40);
    expect(
      ["vm creat web", "vm create web --imag x", "node --bnd x", "doctr"].map((line) => problemOf(line, program)),
    ).toEqual(["vm has no command creat", "create has no --imag", "node has no --bnd", "blixard has no command doctr"]);
  });

  it("names only commands that exist in what the alerts say to do", async () => {
    const program = await buildProgram(["completion"], context);
    const alerts = await readFile(join(root, "tools/grafana/alerts.yaml"), "utf8");
    const named = [...alerts.matchAll(/blixard ([a-z]+)/g)].map(([, name = ""]) => name);
    expect(named.length).toBeGreaterThan(5);
    for (const name of named) expect([name, problemOf(name, program)]).toEqual([name, undefined]);
  });
});
